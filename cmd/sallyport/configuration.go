package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"

	"sallyport/admin"
	"sallyport/config"
)

// failedReload is an attempt to put the file in force that failed.
type failedReload struct {
	time time.Time
	err  error
	text []byte // of the file; nil if it could not be read
}

// loaded notes what became of reading the file: the file that is in force now, or why it is not.
func (r *reloader) loaded(file *config.File, pending []string, err error) {
	now := time.Now().UTC()
	text, _ := readWatched(r.path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refused = &failedReload{now, err, text}
		return
	}
	r.inForce, r.pending, r.since, r.refused = file, pending, now, nil
}

// Configuration returns which configuration is in force, and how the file differs from it. Nothing in it is a secret.
func (r *reloader) Configuration(context.Context) (admin.Configuration, error) {
	r.mu.Lock()
	inForce, since, refused, pending := r.inForce, r.since, r.refused, r.pending
	r.mu.Unlock()
	c := admin.Configuration{Path: r.path, SHA256: sha256Text(inForce.Text), Since: since, Restart: append([]string{}, pending...)}
	redacted, err := r.redact(inForce.Text)
	if err != nil {
		return c, err
	}
	c.Text = string(redacted.Text)
	c.OnDisk = r.onDisk(c)
	if refused != nil {
		c.Refused = r.refusedWithoutSecrets(*refused)
	}
	return c, nil
}

func sha256Text(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (r *reloader) redact(text []byte) (config.Redacted, error) {
	dir, err := filepath.Abs(filepath.Dir(r.path))
	if err != nil {
		return config.Redacted{}, err
	}
	return config.RedactText(r.path, dir, text)
}

// onDisk compares the file with what is in force.
func (r *reloader) onDisk(c admin.Configuration) (f admin.FileOnDisk) {
	text, err := readWatched(r.path)
	if err == nil && text == nil {
		err = errors.New("it is no ordinary file")
	}
	if err != nil {
		f.Err = err.Error()
		return f
	}
	if f.SHA256 = sha256Text(text); f.SHA256 == c.SHA256 {
		return f
	}
	redacted, err := r.redact(text)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	f.Diff, f.Cut = admin.DiffLines(c.Text, string(redacted.Text))
	return f
}

// refusedWithoutSecrets says why a file was refused. Mistakes quote what they are about, which may be a secret.
func (r *reloader) refusedWithoutSecrets(refused failedReload) *admin.Refused {
	out := &admin.Refused{Time: refused.time}
	if refused.text != nil {
		out.SHA256 = sha256Text(refused.text)
	}
	redacted, err := r.redact(refused.text)
	scrub := newScrubber(redacted, os.Environ())
	clean := func(text string) string { return string(scrub.clean([]byte(text))) }
	if err != nil { // it is not known what a secret in it is
		clean = func(text string) string {
			if text == "" {
				return ""
			}
			return "`sallyport validate` on the server says what is wrong"
		}
	}
	tests := (*failedTests)(nil)
	switch faults := (config.Faults)(nil); {
	case errors.As(refused.err, &faults):
		out.Faults = adminFaults(faults, clean)
	case errors.As(refused.err, &tests): // which name users, routes and rules alone
		out.Err = tests.Error()
	default:
		out.Err = clean(refused.err.Error())
	}
	return out
}
