package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// runFile is what a running server leaves beside its store, or beside its control socket if the store is a
// database, for the commands that operate it, so that they find the server
// whatever has become of its configuration file. The server removes it when it stops. A run file that was left behind by
// a server that was killed does no harm: commands find that nobody listens.
type runFile struct {
	Config  string `json:"config"`  // absolute path of the configuration file
	Control string `json:"control"` // path of the control socket
	Ops     string `json:"ops"`     // address of the ops listener
	Audit   string `json:"audit"`   // path of the audit record
}

const (
	runFileSuffix  = ".run"
	maxRunFileSize = 64 << 10 // bytes
)

func runFilePath(beside string) string { return beside + runFileSuffix }

// leaveRunFile writes the run file of this server, and returns what removes it.
func (s *server) leaveRunFile() (remove func()) {
	path := runFileOf(s.file)
	remove = func() {
		if s.succession.isHanded() { // the other process has left its own
			return
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("the file with the addresses of this server could not be removed", "err", err)
		}
	}
	remove() // that of a former server, which must not stay if this one's cannot be written
	s.writeRunFile()
	return remove
}

// writeRunFile writes the run file, or replaces it once the address of the ops listener is another one.
func (s *server) writeRunFile() {
	path := runFileOf(s.file)
	config, err := filepath.Abs(s.reloader.path)
	run := runFile{Config: config, Control: s.file.Control.Socket, Audit: s.file.Audit.File}
	if ops := s.listeners.find(opsServer); ops != nil {
		run.Ops = ops.Addr().String()
	}
	if err = errors.Join(err, run.write(path)); err != nil {
		s.log.Warn("commands cannot find this server while the configuration file has a fault, since it could not leave its addresses", "err", err)
		_ = os.Remove(path) // which would name former ones
	}
}

// write replaces the file at path, for the user of this process alone. Others see the former file or the new one.
func (r runFile) write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// readRunFile returns the run file at path, or nil if there is none that can be read.
func readRunFile(path string) *runFile {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	r := new(runFile)
	if err := json.NewDecoder(io.LimitReader(f, maxRunFileSize)).Decode(r); err != nil || r.Control == "" || r.Ops == "" {
		return nil
	}
	return r
}

// usualFolders are where the store of a server is, if the configuration file cannot tell: the folders of the systemd
// unit, the container image and the Helm chart.
var usualFolders = []string{"/var/lib/sallyport", "/run/sallyport"}

// searchRunFile looks for the run file of a server that was started with the configuration file at path: beside every file
// that the configuration could name, beside the configuration itself, and in the usual folders.
func searchRunFile(path string) *runFile {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	dirs := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		dirs = append(dirs, filepath.Dir(real))
	}
	var candidates []string
	for _, dir := range dirs {
		for _, word := range wordsOf(path) {
			if !filepath.IsAbs(word) {
				word = filepath.Join(dir, word)
			}
			candidates = append(candidates, runFilePath(word))
		}
	}
	for _, folder := range append([]string{filepath.Join(dirs[0], "data"), dirs[0]}, usualFolders...) {
		found, _ := filepath.Glob(filepath.Join(escapeGlob(folder), "*"+runFileSuffix)) // fails for a bad pattern only
		candidates = append(candidates, found...)
	}
	for _, candidate := range candidates {
		if r := readRunFile(candidate); r != nil && sameFile(r.Config, path) {
			return r
		}
	}
	return nil
}

// maxWords is how many words of a configuration file are looked at.
const maxWords = 20_000

// wordsOf returns what could be the path of the store in a file that is no YAML, or has the path under a wrong key.
func wordsOf(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	words := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n{}[],'\"\x00", r) })
	return words[:min(len(words), maxWords)]
}

// escapeGlob returns a pattern that matches path alone.
func escapeGlob(path string) string {
	var escaped []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, c)
	}
	return string(escaped)
}
