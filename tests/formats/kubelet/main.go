// Looks keys up in env files as the kubelet does for fileKeyRef: standard input has a JSON object of file to keys, and
// standard output gets one of file to values. To the kubelet, an empty value is a key that is not there.
package main

import (
	"encoding/json"
	"log"
	"os"

	"k8s.io/kubernetes/pkg/kubelet/util/env"
)

func main() {
	var wanted map[string][]string
	if err := json.NewDecoder(os.Stdin).Decode(&wanted); err != nil {
		log.Fatal(err)
	}
	found := map[string]map[string]string{}
	for path, keys := range wanted {
		values := map[string]string{}
		for _, key := range keys {
			value, err := env.ParseEnv(path, key)
			if err != nil {
				values["error"] = err.Error()
			} else if value != "" {
				values[key] = value
			}
		}
		found[path] = values
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
