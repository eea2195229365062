// The helper that start-up scripts used to call: prints one secret.
//
//	seed SECRET
package main

import (
	"fmt"
	"os"

	"akv-init-bench/internal/azure"
)

func main() {
	value, err := seed(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
	fmt.Println(value)
}

func seed(secret string) (string, error) {
	vault, err := azure.Open()
	if err != nil {
		return "", err
	}
	return vault.Secret(secret)
}
