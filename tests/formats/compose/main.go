// Reads each dotenv file it is given as Compose does, and prints all that it found as one JSON object.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

func main() {
	found := map[string]map[string]string{}
	for _, path := range os.Args[1:] {
		values, err := dotenv.Read(path)
		if err != nil {
			values = map[string]string{"error": err.Error()}
		}
		found[path] = values
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
