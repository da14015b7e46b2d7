"""Go programs, with Debian's compiler and Debian's libraries, offline."""

def go_binary(name, srcs, visibility = None):
    """The program `name` from `srcs`, the files of a package main. It is vetted and linked statically.

    The same sources give the same bytes: no paths, no build id, no C compiler, a build cache of this action alone.
    """
    native.genrule(
        name = name + "_build",
        srcs = srcs,
        outs = [name],
        cmd = "export GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOENV=off CGO_ENABLED=0 && " +
              "export GOCACHE=$$(mktemp -d) && trap 'rm -rf $$GOCACHE' EXIT && " +
              "go vet $(SRCS) && go build -trimpath -ldflags=-buildid= -o $@ $(SRCS)",
        executable = True,
        message = "Compiling Go",
        visibility = visibility,
    )
