package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDelta_MakesText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.SampledFrom([]string{"a", "bb", `"department":"Engineering"`, `,"title":`, "0000000000000000", "éé"}))
		base := []byte(strings.Join(words.Draw(t, "base"), ""))
		text := []byte(strings.Join(words.Draw(t, "text"), ""))
		got, ok := applyDelta(base, newDelta(base, text))
		if !ok || !bytes.Equal(got, text) {
			t.Fatalf("the delta of %q from %q makes %q, %v", text, base, got, ok)
		}
	})
}

// TestDelta_IsSmall: what a change usually alters is far from the length of a record.
func TestDelta_IsSmall(t *testing.T) {
	const record = `{"id":"0123456789abcdef0123456789abcdef","externalId":"00000000-0000-4000-8000-000000000001","userName":"ada@example.com","active":true,"document":{"userName":"ada@example.com","displayName":"Ada","title":%q,"name":{"givenName":"Ada","familyName":"Lovelace"},"emails":[{"type":"work","value":"ada@example.com","primary":true}]},"version":%d,"created":"2026-05-03T12:00:00Z","modified":%q}`
	before := fmt.Appendf(nil, record, "Engineer", 7, "2026-05-03T12:00:00.123456789Z")
	after := fmt.Appendf(nil, record, "Director of Engineering", 8, "2026-11-28T08:30:00.987654321Z")
	if delta := newDelta(after, before); len(delta) > 70 {
		t.Errorf("the delta has %d bytes: %q", len(delta), delta)
	}
}

func TestDelta_RejectsGarbage(t *testing.T) {
	long := binary.AppendUvarint([]byte{0}, 1<<62)
	for _, delta := range [][]byte{{5}, {1}, {0, 4}, {0, 4, 9}, {0, 9, 0}, append(long, 0), bytes.Repeat([]byte{0xff}, 12), append(binary.AppendUvarint(nil, 1<<63), 1)} {
		if text, ok := applyDelta([]byte("12345678"), delta); ok {
			t.Errorf("%x makes %q", delta, text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		_, _ = applyDelta(rapid.SliceOf(rapid.Byte()).Draw(t, "base"), rapid.SliceOf(rapid.Byte()).Draw(t, "delta"))
	})
}

// drawFormers returns sorted formers.
func drawFormers(t *rapid.T) (formers []former) {
	for range rapid.IntRange(1, 8).Draw(t, "formers") {
		f := former{position: rapid.IntRange(0, 3).Draw(t, "prefix"), state: valueState(rapid.IntRange(0, 2).Draw(t, "state"))}
		f.id[0] = rapid.Byte().Draw(t, "id")
		if f.position == memberOfPosition {
			f.group[15] = byte(rapid.IntRange(0, 1).Draw(t, "group"))
		}
		if f.state == whole {
			f.delta = rapid.SliceOf(rapid.Byte()).Draw(t, "delta")
		}
		formers = append(formers, f)
	}
	slices.SortFunc(formers, compareFormers)
	return formers
}

func TestPastChange_EncodesAndDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := pastChange{time: time.Unix(rapid.Int64Range(-1<<33, 1<<33).Draw(t, "time"), 5).UTC(), formers: drawFormers(t),
			cause: Cause{rapid.String().Draw(t, "kind"), rapid.String().Draw(t, "name"), rapid.String().Draw(t, "id")}}
		record := c.encode()
		got, err := decodePastChange(record)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.formers {
			if len(got.formers[i].delta) == 0 {
				got.formers[i].delta = c.formers[i].delta
			}
			if f, ok := formerOf([]byte(got.formers[i].key())); !ok || f.id != c.formers[i].id || f.group != c.formers[i].group || f.position != c.formers[i].position {
				t.Fatalf("the key of %+v is one of %+v", c.formers[i], f)
			}
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v becomes %+v", c, got)
		}
		for n := range record {
			_, _ = decodePastChange(record[:n])
		}
	})
}

func TestPastChange_RejectsGarbage(t *testing.T) {
	head := append([]byte{historyFormat}, make([]byte, 8+3)...)
	id := make([]byte, idSize)
	for name, record := range map[string][]byte{
		"empty": nil, "another format": append([]byte{2}, head[1:]...), "cut cause": head[:10],
		"half a former": append(slices.Clone(head), 0, 1), "unknown state": append(append(slices.Clone(head), 0b1100), id...),
		"unknown flag":    append(append(slices.Clone(head), 0b100000), id...),
		"group of no one": append(append(slices.Clone(head), 0b10010), id...),
		"no group":        append(append(slices.Clone(head), 0b00010), id...),
		"cut delta":       append(append(append(slices.Clone(head), 0b00100), id...), 5, 1),
	} {
		if _, err := decodePastChange(record); err == nil {
			t.Errorf("%s: %x is decoded", name, record)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		_, _ = decodePastChange(append([]byte{historyFormat}, rapid.SliceOf(rapid.Byte()).Draw(t, "record")...))
	})
}

func TestCause_IsBounded(t *testing.T) {
	c := Cause{Name: strings.Repeat("ü", 200)}.bounded()
	if len(c.Name) > maxCause || !strings.HasPrefix(c.Name, "üü") || strings.Contains(c.Name, "\uFFFD") {
		t.Errorf("the name is %q", c.Name)
	}
}

// FuzzPastChange: a record is decoded wholly or not at all, and means the same when it is
// written again.
func FuzzPastChange(f *testing.F) {
	c := pastChange{time: time.Unix(1, 0).UTC(), cause: Cause{"token", "entra", "1"}, formers: []former{
		{position: 0, state: whole, delta: []byte{1, 'x'}}, {position: memberOfPosition, state: absent}, {position: memberOfPosition, id: [idSize]byte{1}, state: unknown}}}
	f.Add(c.encode())
	f.Add(encodeBreak(time.Unix(2, 0), time.Unix(1, 0)))
	f.Fuzz(func(t *testing.T, record []byte) {
		c, err := decodePastChange(record)
		if err != nil {
			return
		}
		again := c.encode()
		if c.isBreak {
			again = encodeBreak(c.time, c.known)
		}
		d, err := decodePastChange(again)
		if err != nil || !reflect.DeepEqual(c, d) {
			t.Fatalf("%x is %+v, and %x is %+v, %v", record, c, again, d, err)
		}
	})
}
