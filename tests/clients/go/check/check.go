// Package check is what the Go programs share with those of the other languages: the records they write, and the
// checks on what comes back. A record's place in the sequence travels in its header n.
package check

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	Partitions = 3
	Total      = 500
	Half       = Total / 2
	Wait       = 30 * time.Second

	users = 37
	large = 7
)

// start is the first record's timestamp; record n follows n milliseconds later.
var start = time.Now().Add(-time.Hour).Truncate(time.Second)

// Header is one header of a record, in order.
type Header struct {
	Name  string
	Value []byte
}

// mismatch is what Expect and its kin stop a program with.
type mismatch string

// Fail stops the program.
func Fail(format string, args ...any) {
	panic(mismatch(fmt.Sprintf(format, args...)))
}

// Expect stops the program if got is not want. A nil slice is not an empty one.
func Expect(what string, want, got any) {
	if !reflect.DeepEqual(want, got) {
		Fail("%s: expected %s, got %s", what, clip(want), clip(got))
	}
}

// OK stops the program on an error.
func OK(what string, err error) {
	if err != nil {
		Fail("%s: %v", what, err)
	}
}

// True stops the program if fact does not hold of got.
func True(what string, fact bool, got any) {
	if !fact {
		Fail("%s: got %s", what, clip(got))
	}
}

func clip(value any) string {
	text := fmt.Sprintf("%#v", value)
	if b, ok := value.([]byte); ok && b != nil {
		text = strconv.Quote(string(b))
	}
	if len(text) > 300 {
		text = fmt.Sprintf("%s... (%d characters)", text[:300], len(text))
	}
	return text
}

// Step says on the program's log what it does next.
func Step(text string) {
	fmt.Println(time.Now().Format("15:04:05"), text)
}

// Settle gives time to a broker that answers an admin request before everybody sees what it did, as Apache Kafka does.
// The runner gives none to streamd, whose answer means done.
func Settle() {
	milliseconds, _ := strconv.Atoi(os.Getenv("CLIENTS_SETTLE_MS"))
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
}

// FreshName is a name for topics and groups that no earlier run has used.
func FreshName(client string) string {
	return fmt.Sprintf("clients-%s-%d-%d", client, os.Getpid(), time.Now().Unix()%1_000_000)
}

// Key is record n's key. Some have none.
func Key(n int) []byte {
	if n%50 == 10 {
		return nil
	}
	return fmt.Appendf(nil, "user-%d", n*7%users)
}

// Value is record n's value. One is large, some are null, some are empty.
func Value(n int) []byte {
	switch {
	case n%50 == 20:
		return nil
	case n%50 == 30:
		return []byte{}
	case n == large:
		value := []byte("large ")
		for i := range 300_000 {
			value = append(value, byte(i*31%251))
		}
		return value
	}
	return fmt.Appendf(nil, "record %d Zürich %s", n, strings.Repeat("0123456789", n%40))
}

// Headers are record n's headers: its number, one name twice, and an empty value.
func Headers(n int) []Header {
	return []Header{
		{"n", []byte(strconv.Itoa(n))},
		{"twice", []byte("first")},
		{"twice", []byte("second")},
		{"empty", []byte{}},
	}
}

// Time is record n's timestamp.
func Time(n int) time.Time {
	return start.Add(time.Duration(n) * time.Millisecond)
}

// Place is where a record lies.
type Place struct {
	Partition int32
	Offset    int64
}

// Ledger checks each record as it is consumed, and keeps what has been seen. It may be used from several goroutines.
type Ledger struct {
	// EmptyIsNull is for a client that gives its user null where the record has an empty value.
	EmptyIsNull bool

	mu             sync.Mutex
	Seen           map[int]Place
	NextOffset     map[int32]int64
	last           map[int32]int
	partitionOfKey map[string]int32
}

// NewLedger is a ledger that has seen nothing.
func NewLedger() *Ledger {
	return &Ledger{
		Seen:           map[int]Place{},
		NextOffset:     map[int32]int64{},
		last:           map[int32]int{},
		partitionOfKey: map[string]int32{},
	}
}

// Number is a record's place in the sequence, read from its headers.
func Number(headers []Header) int {
	for _, h := range headers {
		if h.Name == "n" {
			n, err := strconv.Atoi(string(h.Value))
			OK("header n", err)
			return n
		}
	}
	Fail("header n: expected a number, got headers %s", clip(headers))
	return 0
}

// Take checks one record, as the client gave it to its user.
func (l *Ledger) Take(at Place, key, value []byte, headers []Header, timestamp time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := Number(headers)
	here := fmt.Sprintf("record at %d:%d (n=%d)", at.Partition, at.Offset, n)
	sameBytes(here+", key", Key(n), key)
	if l.EmptyIsNull && len(Value(n)) == 0 {
		Expect(here+", length of the value", 0, len(value))
	} else {
		sameBytes(here+", value", Value(n), value)
	}
	want := Headers(n)
	Expect(here+", number of headers", len(want), len(headers))
	for i, h := range headers {
		Expect(here+", name of a header", want[i].Name, h.Name)
		// A null and an empty header value look the same through some of these clients.
		Expect(here+", value of header "+h.Name, string(want[i].Value), string(h.Value))
	}
	Expect(here+", timestamp", Time(n).UnixMilli(), timestamp.UnixMilli())
	Expect(here+", offset", l.NextOffset[at.Partition], at.Offset)
	if last, ok := l.last[at.Partition]; ok && n <= last {
		Fail("%s: must come after n=%d", here, last)
	}
	if earlier, ok := l.Seen[n]; ok {
		Fail("%s: the same record came before, at %v", here, earlier)
	}
	if key != nil {
		if p, ok := l.partitionOfKey[string(key)]; ok {
			Expect(fmt.Sprintf("%s, partition of key %s", here, key), p, at.Partition)
		}
		l.partitionOfKey[string(key)] = at.Partition
	}
	l.Seen[n] = at
	l.NextOffset[at.Partition] = at.Offset + 1
	l.last[at.Partition] = n
}

// sameBytes tells null from empty.
func sameBytes(what string, want, got []byte) {
	if (want == nil) != (got == nil) || !bytes.Equal(want, got) {
		Fail("%s: expected %s, got %s", what, clip(want), clip(got))
	}
}

// Count is the number of records seen.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.Seen)
}

// Complete stops the program unless every record was seen, exactly once, in all partitions, each where the producer was
// told.
func (l *Ledger) Complete(sent map[int]Place) {
	Expect("records consumed", Total, len(l.Seen))
	for n := range Total {
		if _, ok := l.Seen[n]; !ok {
			Fail("records consumed: number %d is missing", n)
		}
		Expect(fmt.Sprintf("place of record %d, as acknowledged and as consumed", n), sent[n], l.Seen[n])
	}
	Expect("partitions with records", Partitions, len(l.NextOffset))
	sum := int64(0)
	for _, offset := range l.NextOffset {
		sum += offset
	}
	Expect("sum of the next offsets", int64(Total), sum)
}

// FirstAtOrAfter is the offset that a lookup by the time of record n must find, or none.
func (l *Ledger) FirstAtOrAfter(partition int32, n int, none int64) int64 {
	first := none
	for m := Total - 1; m >= n; m-- {
		if at := l.Seen[m]; at.Partition == partition {
			first = at.Offset
		}
	}
	return first
}

// AllPartitions is what a group's only member must own.
func AllPartitions() []int32 {
	all := make([]int32, Partitions)
	for p := range all {
		all[p] = int32(p)
	}
	return all
}

// Sorted is the partitions in order.
func Sorted(partitions []int32) []int32 {
	sorted := append([]int32{}, partitions...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	return sorted
}

// Divided tells whether two members own all partitions, some each, none both.
func Divided(mine, yours []int32) bool {
	return len(mine) > 0 && len(yours) > 0 && reflect.DeepEqual(AllPartitions(), Sorted(append(append([]int32{}, mine...), yours...)))
}

// Numbers is a set of record numbers that several goroutines fill.
type Numbers struct {
	mu  sync.Mutex
	set map[int]bool
}

// Add puts a number into the set.
func (s *Numbers) Add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[int]bool{}
	}
	s.set[n] = true
}

// Len is the number of different numbers.
func (s *Numbers) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set)
}

// Until asks attempt until it answers true, and stops the program when that takes too long.
func Until(what string, attempt func() bool) {
	end := time.Now().Add(Wait)
	for !attempt() {
		if time.Now().After(end) {
			Fail("%s: not so after %v", what, Wait)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Guard makes a failed check on another goroutine end the program, as it does on the main one. Defer it.
func Guard(client string) {
	caught := recover()
	if caught == nil {
		return
	}
	text, ok := caught.(mismatch)
	if !ok {
		debug.PrintStack()
	}
	if ok {
		fmt.Printf("FAIL %s: %s\n", client, strings.ReplaceAll(string(text), "\n", " "))
	} else {
		fmt.Printf("FAIL %s: %v\n", client, caught)
	}
	os.Exit(1)
}

// Main runs the program; it exits 0 if it ends, 1 with one FAIL line if it does not.
func Main(client, module string, program func(broker string)) {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: %s HOST:PORT\n", os.Args[0])
		os.Exit(2)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				fmt.Println("version:", strings.TrimPrefix(m.Version, "v"))
			}
		}
	}
	defer Guard(client)
	program(os.Args[1])
	fmt.Println("PASS")
}
