package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"sallyport/audit"
	"sallyport/store/bolt"
)

// namedFile is a file that the configuration names.
type namedFile struct {
	key  string // path of keys, such as routes[0].upstream_tls.ca_file
	path string
}

// files returns every file that the configuration names, in the order of the settings.
func (f *File) files() []namedFile { return filesIn(reflect.ValueOf(f).Elem(), "") }

func filesIn(v reflect.Value, key string) (files []namedFile) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			files = filesIn(v.Elem(), key)
		}
	case reflect.Slice:
		for i := range v.Len() {
			files = append(files, filesIn(v.Index(i), fmt.Sprintf("%s[%d]", key, i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, inline := keyOf(field)
			switch inner := strings.TrimPrefix(key+"."+name, "."); {
			case inline:
				files = append(files, filesIn(v.Field(i), key)...)
			case field.Tag.Get("kind") == "file" && v.Field(i).String() != "":
				files = append(files, namedFile{inner, v.Field(i).String()})
			case name != "":
				files = append(files, filesIn(v.Field(i), inner)...)
			}
		}
	}
	return files
}

// The keys of files that the server writes.
const (
	storeKey   = "store.bolt.path"
	auditKey   = "audit.file"
	controlKey = "control.socket"
)

// sinkKey is the pattern of keys of files that lines of the audit record are appended to.
var sinkKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^audit\.sinks\[\d+\]\.file\.path$`) })

// isWritten reports whether the server writes the file that key names, or creates it.
func isWritten(key string) bool {
	return key == storeKey || key == auditKey || key == controlKey || sinkKey().MatchString(key)
}

// ReadFiles returns the paths of the files that the configuration names for what they hold, in the order of the settings.
func (f *File) ReadFiles() (paths []string) {
	for _, file := range f.files() {
		if !isWritten(file.key) {
			paths = append(paths, file.path)
		}
	}
	return paths
}

// checkFilesDiffer reports files that the server would overwrite.
func (f *File) checkFilesDiffer(fault func(path, problem string)) {
	files := f.files()
	for i, written := range files {
		if !isWritten(written.key) {
			continue
		}
		for j, other := range files {
			switch {
			case i == j || j < i && isWritten(other.key): // reported once
			case !sameFile(written.path, other.path):
			case other.key == auditKey && written.key == storeKey:
				fault(written.key, "is the file of the audit record too (audit.file); give each its own")
			default:
				fault(written.key, fmt.Sprintf("is the file that %s names too; give each its own", other.key))
			}
		}
	}
}

// sameFile reports whether two paths lead to one file, which need not exist.
func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	inA, errA := os.Stat(a)
	inB, errB := os.Stat(b)
	if errors.Is(errA, os.ErrNotExist) && errors.Is(errB, os.ErrNotExist) { // their folders may be one by a link
		return filepath.Base(a) == filepath.Base(b) && filepath.Dir(a) != a && filepath.Dir(b) != b && sameFile(filepath.Dir(a), filepath.Dir(b))
	}
	return errA == nil && errB == nil && os.SameFile(inA, inB)
}

// checkStart reports what keeps a server from starting with f, beyond what [File.check] reports: what is in the files
// that f names, where files cannot be created, and on which addresses nobody can listen. It changes nothing.
func (f *File) checkStart(fault func(path, problem string)) {
	f.TLS.CheckFiles(func(path, problem string) { fault(join("tls", path), problem) })
	f.CheckFiles(fault)
	f.Listen.CheckOpen(func(path, problem string) { fault(join("listen", path), problem) })
	for _, file := range f.files() {
		if !isWritten(file.key) {
			continue
		}
		if err := checkWritable(file); err != nil {
			fault(file.key, err.Error())
		}
	}
}

// checkWritable returns why the server cannot write a file, or what else is in its place.
func checkWritable(file namedFile) error {
	info, err := os.Lstat(file.path)
	isSocket := err == nil && info.Mode().Type() == os.ModeSocket
	switch {
	case file.key == controlKey && len(file.path) > maxSocketPath:
		return fmt.Errorf("has %d bytes, and the path of a Unix socket at most %d: %s; write a shorter path, such as /run/sallyport/control.sock", len(file.path), maxSocketPath, file.path)
	case file.key == controlKey && err == nil && !isSocket:
		return fmt.Errorf("names %s, which is not a socket; name a path at which there is nothing else", file.path)
	case file.key == controlKey:
		return checkFolder(filepath.Dir(file.path))
	}
	if info, err = os.Stat(file.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("names %s, which is not an ordinary file; name one", file.path)
	}
	if err == nil {
		err = syscall.Access(file.path, accessRead|accessWrite)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot be read and written at %s: %w; the server must be able to do both", file.path, err)
	}
	check := audit.CheckFile
	switch {
	case file.key == storeKey:
		check = bolt.CheckFile
	case sinkKey().MatchString(file.key):
		check = func(string) error { return nil } // its format may have been another
	}
	if err := check(file.path); err != nil {
		return fmt.Errorf("names another file: %w; name a path at which there is nothing else", err)
	}
	if file.key != storeKey && err == nil {
		return nil // it is written in place
	}
	return checkFolder(filepath.Dir(file.path))
}

// maxSocketPath is the length of the longest path of a Unix socket, without the NUL at its end.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// The modes of access(2).
const (
	accessExecute = 1
	accessWrite   = 2
	accessRead    = 4
)

// checkFolder returns why no file can be created in a folder. Folders that do not exist are created.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
		return checkFolder(filepath.Dir(dir))
	}
	switch {
	case err != nil:
		return fmt.Errorf("cannot be created: %w", err)
	case !info.IsDir():
		return fmt.Errorf("cannot be created, since %s is not a folder", dir)
	}
	if err := syscall.Access(dir, accessWrite|accessExecute); err != nil {
		return fmt.Errorf("cannot be created in %s: %w; let the user of the server write there, or name another folder", dir, err)
	}
	return nil
}

// checkStart runs [File.checkStart]. It reports nothing about values with a fault already: where a file cannot be read, its
// content cannot be checked either.
func (d *decoder) checkStart(f *File) {
	faulty := map[string]bool{}
	for _, fault := range d.faults {
		faulty[fault.Path] = true
	}
	f.checkStart(func(path, problem string) {
		if !faulty[path] {
			d.fault(path, problem)
		}
	})
}
