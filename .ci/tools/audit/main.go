// Prints the crates that a file lists in its section .dep-v0, as scanners read it, but for those that only built others.
package main

import (
	"fmt"
	"os"

	rustaudit "github.com/microsoft/go-rustaudit"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err == nil {
		var info rustaudit.VersionInfo
		info, err = rustaudit.GetDependencyInfo(file)
		for _, crate := range info.Packages {
			if crate.Kind == rustaudit.Runtime {
				fmt.Println(crate.Name, crate.Version)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
