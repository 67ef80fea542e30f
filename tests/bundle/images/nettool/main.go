// Command nettool is wget and nslookup for the busybox image: Debian's static busybox crashes in both, because a static
// glibc cannot load the libraries that its resolver wants. It acts by the name that it is called by, and its options,
// output and exit codes are busybox's, as far as checks of a lab need them.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "nettool" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "wget":
		os.Exit(wget(args))
	case "nslookup":
		os.Exit(nslookup(args, "/etc/resolv.conf", os.Stdout))
	}
	fmt.Fprintln(os.Stderr, "usage: nettool wget|nslookup ARGUMENTS")
	os.Exit(1)
}
