// The peer to be measured against: a plain Go program with the same job as `akv-init exec`.
//
//	peer-go NAME=SECRET... -- COMMAND [ARG...]
//	peer-go START* -- COMMAND [ARG...]
//
// It fetches one token, reads the secrets (one goroutine a secret, ten at once), puts them in the environment and
// becomes COMMAND. With START* it lists the vault first, and the name of a variable is that of its secret.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"akv-init-bench/internal/azure"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer-go:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var names, secrets []string
	start, lists := "", false
	if len(args) > 0 {
		start, lists = strings.CutSuffix(args[0], "*")
	}
	if lists {
		args = args[1:]
	}
	for len(args) > 0 && args[0] != "--" {
		name, secret, found := strings.Cut(args[0], "=")
		if !found {
			return fmt.Errorf("%q is not NAME=SECRET", args[0])
		}
		names, secrets = append(names, name), append(secrets, secret)
		args = args[1:]
	}
	if len(args) < 2 {
		return fmt.Errorf("no command")
	}
	command := args[1:]
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}

	vault, err := azure.Open()
	if err != nil {
		return err
	}
	if lists {
		if secrets, err = vault.Names(start); err != nil {
			return err
		}
		for _, secret := range secrets {
			names = append(names, strings.ReplaceAll(secret, "-", "_"))
		}
	}
	values, err := readAll(vault, secrets)
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := os.Setenv(name, values[i]); err != nil {
			return err
		}
	}
	return syscall.Exec(path, command, os.Environ())
}

func readAll(vault *azure.Vault, secrets []string) ([]string, error) {
	values := make([]string, len(secrets))
	errors := make([]error, len(secrets))
	places := make(chan struct{}, azure.AtOnce)
	var readers sync.WaitGroup
	for i, secret := range secrets {
		readers.Add(1)
		go func(i int, secret string) {
			defer readers.Done()
			places <- struct{}{}
			defer func() { <-places }()
			values[i], errors[i] = vault.Secret(secret)
		}(i, secret)
	}
	readers.Wait()
	for _, err := range errors {
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}
