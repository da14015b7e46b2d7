"""BPF programs: clang for the bpf target, then libbpf's skeleton."""

def bpf_skeleton(name, src, hdrs = [], visibility = None):
    """`name`.skel.h from `src`, a C file for the bpf target, which may include `hdrs` of the same folder."""
    native.genrule(
        name = name + "_skel",
        srcs = [src] + hdrs,
        outs = [name + ".skel.h"],
        cmd = "clang -O2 -g -Wall -Werror -target bpf -I/usr/include/$$(uname -m)-linux-gnu " +
              "-c $(location %s) -o $(@D)/%s.bpf.o && " % (src, name) +
              "PATH=$$PATH:/usr/sbin bpftool gen skeleton $(@D)/%s.bpf.o name %s > $@" % (name, name),
        message = "Compiling BPF",
    )
    native.cc_library(
        name = name + "_skeleton",
        hdrs = [name + ".skel.h"],
        visibility = visibility,
        deps = ["@bpf"],
    )
