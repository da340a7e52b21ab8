// Command recode writes counter files as Go's tools can, but do not: raw, big-endian, of several segments, with large
// counts. It reads and writes with the packages of the Go distribution, copied to the folder coverage.
//
//	recode raw|big|uleb FACTOR OUT IN...
//
// Each IN becomes a segment of OUT, its counts multiplied by FACTOR.
package main

import (
	"bytes"
	"encoding/binary"
	"log"
	"os"
	"strconv"

	"recode/coverage"
	"recode/coverage/decodecounter"
	"recode/coverage/encodecounter"
)

func main() {
	factor := must(strconv.ParseUint(os.Args[2], 10, 32))
	flavour := coverage.CtrRaw
	if os.Args[1] == "uleb" {
		flavour = coverage.CtrULeb128
	}
	var out []byte
	for n, name := range os.Args[4:] {
		in := must(os.Open(name))
		segment := segment{must(decodecounter.NewCounterDataReader(name, in)), uint32(factor)}
		args := map[string]string{"argc": "1", "argv0": name, "GOOS": segment.Goos(), "GOARCH": segment.Goarch()}
		var hash [16]byte
		must(in.ReadAt(hash[:], 8))
		// Not AppendSegment: as of Go 1.26 it announces the functions of all segments so far for each.
		var file bytes.Buffer
		check(encodecounter.NewCoverageDataWriter(&file, flavour).Write(hash, args, segment))
		written := file.Bytes()
		binary.LittleEndian.PutUint32(written[len(written)-8:], uint32(n+1))
		if n > 0 {
			written = written[32:]
		}
		out = append(out, written...)
	}
	if os.Args[1] == "big" {
		swap(out)
	}
	check(os.WriteFile(os.Args[3], out, 0o644))
}

type segment struct {
	*decodecounter.CounterDataReader
	factor uint32
}

func (s segment) VisitFuncs(visit encodecounter.CounterVisitorFn) error {
	for {
		var f decodecounter.FuncPayload
		if more, err := s.NextFunc(&f); !more || err != nil {
			return err
		}
		for n := range f.Counters {
			f.Counters[n] *= s.factor
		}
		if err := visit(f.PkgIdx, f.FuncIdx, f.Counters); err != nil {
			return err
		}
	}
}

// swap makes a raw file of one segment big-endian: the flag in its header, and the words between arguments and footer.
func swap(bytes []byte) {
	bytes[25] = 1
	start := 48 + binary.LittleEndian.Uint32(bytes[40:]) + binary.LittleEndian.Uint32(bytes[44:])
	for words := bytes[start : len(bytes)-16]; len(words) > 0; words = words[4:] {
		binary.BigEndian.PutUint32(words, binary.LittleEndian.Uint32(words))
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
