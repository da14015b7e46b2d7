"""Repository rules for what the system provides: libraries through pkg-config."""

def _system_library(ctx):
    copts = []
    linkopts = list(ctx.attr.linkopts)
    if ctx.attr.modules:
        result = ctx.execute(["pkg-config", "--cflags", "--libs"] + ctx.attr.modules)
        if result.return_code != 0:
            fail("pkg-config does not know %s: %sInstall what bazel/packages.txt lists." %
                 (ctx.attr.modules, result.stderr))
        seen = {}
        for flag in result.stdout.replace("\n", " ").split(" "):
            if not flag or flag.startswith("-D") or flag.startswith("-I"):
                # Headers are in the default search path on Debian; -I would hide warnings' origin.
                if flag.startswith("-D"):
                    copts.append(flag[2:])
            elif flag.startswith("-l") and flag in seen:
                continue
            else:
                linkopts.append(flag)
                seen[flag] = True
    ctx.file("BUILD", """
cc_library(
    name = "lib",
    defines = %r,
    linkopts = %r,
    visibility = ["//visibility:public"],
    deps = ["@precompiled//:headers"],
)
alias(name = "%s", actual = ":lib", visibility = ["//visibility:public"])
""" % (copts, linkopts, ctx.name))

system_library = repository_rule(
    implementation = _system_library,
    attrs = {
        "modules": attr.string_list(doc = "Names known to pkg-config."),
        "linkopts": attr.string_list(doc = "For libraries without a pkg-config file."),
    },
    environ = ["PKG_CONFIG_PATH"],
)

# Name: level of optimisation, headers. .bazelrc says who takes which.
_PRECOMPILED = {
    "quick": ("-O0", ["common.h"]),
    "optimised": ("-O1", ["common.h"]),
    "tests": ("-O0", ["common.h", "common_of_tests.h"]),
}

def _precompiled_headers(ctx):
    for header in ctx.attr._headers:
        ctx.symlink(header, header.name)
    for name, (level, headers) in _PRECOMPILED.items():
        # From the standard input, so that a compilation depends on no file but the result.
        result = ctx.execute(["sh", "-c", "cat " + " ".join(headers) + " | clang++ -std=c++20 -fPIC -fstack-protector " +
                                          "-fno-omit-frame-pointer -DGTEST_HAS_PTHREAD=1 " + level +
                                          " -x c++-header - -o " + name + ".pch"])
        if result.return_code != 0:
            fail("cannot precompile %s: %sInstall what bazel/packages.txt lists." % (headers, result.stderr))
    ctx.file("BUILD", """
cc_library(
    name = "headers",
    hdrs = glob(["*.pch"]),
    visibility = ["//visibility:public"],
)
""")

precompiled_headers = repository_rule(
    implementation = _precompiled_headers,
    attrs = {"_headers": attr.label_list(default = ["//bazel:common.h", "//bazel:common_of_tests.h"])},
    doc = "Headers that nearly every file includes, compiled once: half of the time of a build.",
)

def _empty_coverage_tools(ctx):
    ctx.file("BUILD", "".join([
        'filegroup(name = "%s", srcs = [], visibility = ["//visibility:public"])\n' % name
        for name in ["coverage_report_generator", "lcov_merger", "coverage_output_generator"]
    ]))

empty_coverage_tools = repository_rule(implementation = _empty_coverage_tools)
