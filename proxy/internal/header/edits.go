package header

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
)

// Edits removes headers, then sets others.
type Edits struct {
	Remove []string `yaml:"remove" doc:"names"`
	Set    []Edit   `yaml:"set" doc:"names and values, in place of what was sent"`
}

// Edit is one header.
type Edit struct {
	Name      string `yaml:"name"`
	Value     string `yaml:"value" doc:"printable ASCII"`
	ValueFile string `yaml:"value_file" kind:"file" doc:"a file whose one line is the value, in place of value: for secrets"`
}

// Check reports headers that cannot be edited: those that identify the caller, and those that frame messages.
func (e Edits) Check(key string, managed Names, fault func(path, problem string)) {
	checkName := func(at, name string) {
		spelling, ok := managed.Spelling(CGI(name))
		ok = ok && !Mounts.Has(CGI(name))
		switch {
		case !ValidName(name) || name == "":
			fault(at, fmt.Sprintf("%q cannot be the name of a header; write letters, digits and dashes", name))
		case Fixed(name) || ok && spelling == "" || managed.spellings != nil && SetByUs.HasPrefix([]byte(CGI(name))):
			fault(at, fmt.Sprintf("only the proxy itself may set or remove %s", name))
		}
	}
	for i, name := range e.Remove {
		checkName(fmt.Sprintf("%s.remove[%d]", key, i), name)
	}
	for i, set := range e.Set {
		checkName(fmt.Sprintf("%s.set[%d].name", key, i), set.Name)
		if !printable(set.Value) {
			fault(fmt.Sprintf("%s.set[%d].value", key, i), "the value of a header must be printable ASCII here")
		}
		if set.Value != "" && set.ValueFile != "" {
			fault(fmt.Sprintf("%s.set[%d].value_file", key, i), "a header has a value or a value_file; write one of them")
		}
	}
}

func printable(value string) bool {
	return !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' })
}

// maxValueBytes bounds a value in a file.
const maxValueBytes = 8 << 10

// ReadFiles returns the edits with the values that files hold. Its error is an [*EditFileError].
func (e Edits) ReadFiles() (Edits, error) {
	e.Set = slices.Clone(e.Set)
	for i, one := range e.Set {
		if one.ValueFile == "" {
			continue
		}
		value, err := readValue(one.ValueFile)
		if err != nil {
			return Edits{}, &EditFileError{fmt.Sprintf("set[%d].value_file", i), err.Error()}
		}
		e.Set[i] = Edit{Name: one.Name, Value: value}
	}
	return e, nil
}

// readValue reads a value from the file at path. Its errors do not reveal what the file holds.
func readValue(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxValueBytes+1))
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case value == "" || len(text) > maxValueBytes || !printable(value):
		return "", errors.New(path + " must hold one line of printable ASCII, of 8 KiB at most")
	}
	return value, nil
}

// EditFileError says what is wrong with a file that holds a value.
type EditFileError struct{ Key, Problem string }

func (e *EditFileError) Error() string { return e.Key + ": " + e.Problem }

// EditsInForce are [Edits] with canonical names.
type EditsInForce struct {
	remove []string
	set    http.Header
}

func (e Edits) Compile() EditsInForce {
	c := EditsInForce{set: http.Header{}}
	for _, name := range e.Remove {
		c.remove = append(c.remove, http.CanonicalHeaderKey(name))
	}
	for _, one := range e.Set {
		c.set.Add(one.Name, one.Value)
	}
	return c
}

func (e EditsInForce) Apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	maps.Copy(h, e.set)
}
