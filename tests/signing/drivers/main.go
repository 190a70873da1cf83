// Reads lists of pairs and prints what the snippet makes of each.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"example.test/signing"
)

func main() {
	var lists [][][2]string
	if err := json.NewDecoder(os.Stdin).Decode(&lists); err != nil {
		panic(err)
	}
	for _, pairs := range lists {
		fmt.Println(signing.Sign(os.Args[1], pairs))
	}
}
