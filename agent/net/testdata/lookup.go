// Looks a name up with Go's own resolver and prints its addresses, sorted, in one line.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
)

func main() {
	addresses, err := (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	sort.Strings(addresses)
	fmt.Println(strings.Join(addresses, " "))
}
