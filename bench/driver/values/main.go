// Command values writes the values that peers send to standard output, one after the other, for
// peers in other languages.
//
//	go run ./driver/values -size 100 > values-100.bin
package main

import (
	"bufio"
	"errors"
	"flag"
	"log"
	"os"

	"github.com/quill-kafka/quill/bench/driver"
)

func main() {
	size := flag.Int("size", 100, "bytes of a value")
	flag.Parse()
	w := bufio.NewWriter(os.Stdout)
	var err error
	for _, v := range driver.Values(*size, driver.PoolSize(*size)) {
		_, e := w.Write(v)
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		log.Fatal(err)
	}
}
