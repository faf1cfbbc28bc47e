// Package audit keeps the record of every request that was allowed, denied or cut
// and of every change: one JSON line for each event, chained to the line before by
// its SHA-256.
//
// An event is written before the action that it records, and an action whose event
// cannot be written must not be taken. After a failed write the log refuses every
// event until [Log.Run] has made the file whole again. [Log.AllowUnrecorded] makes an
// exception for requests and sign-ins.
package audit

import (
	"errors"
	"fmt"
	"os"
)

// Settings is the audit node of the configuration.
type Settings struct {
	File      string    `yaml:"file" kind:"file" doc:"where the audit record is written, as JSON lines"`
	Rotate    Rotation  `yaml:"rotate" doc:"when a new file begins, and how long the former ones are kept"`
	Reserve   int       `yaml:"reserve" doc:"bytes of the disk that are kept for events other than decisions and logins; at most an eighth of the disk"`
	OnFailure OnFailure `yaml:"on_failure" doc:"deny (default), or allow: while the record cannot be written, let requests and sign-ins in without a line"`
}

// Defaults returns the settings of an absent node.
func Defaults() Settings {
	return Settings{File: "data/audit.jsonl", Rotate: Rotation{defaultSize, defaultKeep}, Reserve: 1 << 20, OnFailure: Deny}
}

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if s.File == "" {
		fault("file", "is empty; write a path such as data/audit.jsonl")
	}
	if s.Reserve < 0 {
		fault("reserve", "cannot be negative; write a number of bytes such as 1048576, or 0 for no reserve")
	}
	if s.OnFailure != "" && s.OnFailure != Deny && s.OnFailure != Allow { // empty: deny
		fault("on_failure", fmt.Sprintf("%q is unknown; write deny or allow", string(s.OnFailure)))
	}
}

// CheckFile returns an error if there is a file at path that does not begin like a record. It does not read the rest.
func CheckFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	enough := errors.New("the first line was read")
	err = eachLine(f, func(line []byte, whole bool) error {
		if !whole { // removed when the record is opened
			return enough
		}
		if _, _, err := (link{}).follow(line); err != nil {
			return err
		}
		return enough
	})
	if errors.Is(err, ErrBroken) {
		return fmt.Errorf("%s is not an audit record: %w", path, err)
	}
	if errors.Is(err, enough) {
		return nil
	}
	return err
}
