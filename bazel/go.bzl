"""Go programs, with Debian's compiler and Debian's libraries, offline."""

def go_binaries(name, programs, visibility = None):
    """The `programs`: each name with the files of its package main. They are vetted and linked statically.

    The same sources give the same bytes: no paths, no build id, no C compiler, a build cache of this action alone. One action for
    all of them: what they use of Go's library is compiled once.
    """
    commands = [
        "files='%s' && go vet $$files && go build -trimpath -ldflags=-buildid= -o $(location %s) $$files" %
        (" ".join(["$(location %s)" % src for src in srcs]), program)
        for program, srcs in programs.items()
    ]
    native.genrule(
        name = name,
        srcs = [src for srcs in programs.values() for src in srcs],
        outs = programs.keys(),
        cmd = "export GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOENV=off CGO_ENABLED=0 && " +
              "export GOCACHE=$$(mktemp -d) && trap 'rm -rf $$GOCACHE' EXIT && " +
              " && ".join(commands),
        message = "Compiling Go",
        visibility = visibility,
    )
