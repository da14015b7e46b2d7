"""Protobuf and gRPC stubs from Debian's protoc."""

def cc_proto(name, srcs, grpc = [], deps = [], visibility = None):
    """One cc_library of the stubs for `srcs`, with gRPC stubs for those that are also in `grpc`."""
    outs = []
    for src in srcs:
        base = src[:-len(".proto")]
        outs += [base + ".pb.h", base + ".pb.cc"]
    for src in grpc:
        base = src[:-len(".proto")]
        outs += [base + ".grpc.pb.h", base + ".grpc.pb.cc"]
    native.genrule(
        name = name + "_gen",
        srcs = srcs,
        outs = outs,
        cmd = "protoc -I. --cpp_out=$(GENDIR) $(SRCS)" + ("" if not grpc else
              " && protoc -I. --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin --grpc_out=$(GENDIR) " +
              " ".join(["$(location %s)" % g for g in grpc])),
        message = "Generating stubs",
    )
    native.cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        copts = ["-w"],
        deps = deps,
        visibility = visibility,
    )

def embedded(name, src, symbol, visibility = None):
    """A cc_library with `extern const std::string_view symbol` holding the bytes of `src`."""
    native.genrule(
        name = name + "_gen",
        srcs = [src],
        outs = [name + ".cc", name + ".h"],
        cmd = """
{ echo '#pragma once'; echo '#include <string_view>'; echo 'namespace squall { extern const std::string_view %s; }'; } > $(@D)/%s.h
{ echo '#include <string_view>'; echo 'namespace squall { extern const std::string_view %s; static const unsigned char bytes[] = {'
  od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g'
  echo '}; const std::string_view %s(reinterpret_cast<const char*>(bytes), sizeof(bytes)); }'; } > $(@D)/%s.cc
""" % (symbol, name, symbol, symbol, name),
    )
    native.cc_library(
        name = name,
        srcs = [name + ".cc"],
        hdrs = [name + ".h"],
        visibility = visibility,
    )
