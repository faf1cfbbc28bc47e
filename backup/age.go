package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	encryptedWords = "age-encryption.org/" // of which every encrypted file begins with
	maxKeyFile     = 1 << 20
)

// The errors of encrypted streams.
var (
	ErrEncrypted    = errors.New("the backup is encrypted; name the file of an identity that it was encrypted to with --identity-file")
	ErrNotEncrypted = errors.New("the backup is not encrypted, and so may come from anybody; to restore it all the same, leave --identity-file out")
	ErrIdentity     = errors.New("the backup is encrypted to none of the identities")
)

// ParseRecipients reads age recipients, one a line, as a file of them has them.
func ParseRecipients(in io.Reader) ([]age.Recipient, error) {
	return age.ParseRecipients(io.LimitReader(in, maxKeyFile))
}

// ParseIdentities reads age identities, one a line, as age-keygen writes them. Its errors do not contain what it read.
func ParseIdentities(in io.Reader) ([]age.Identity, error) {
	identities, err := age.ParseIdentities(io.LimitReader(in, maxKeyFile))
	if err != nil { // age says which line is malformed, and of some lines what is in them
		return nil, errors.New("it is not a file of age identities, as age-keygen writes them")
	}
	return identities, nil
}

// Encrypt returns a writer that encrypts what is written to w. What is written is whole once the writer is closed.
func Encrypt(w io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	return age.Encrypt(w, recipients...)
}

// Decrypt returns the content of a file, which is decrypted if identities are named: then it must be encrypted, else it must
// not be.
func Decrypt(in io.Reader, identities []age.Identity) (io.Reader, error) {
	file := bufio.NewReader(in)
	first, err := file.Peek(len(armor.Header))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	armored := string(first) == armor.Header
	encrypted := armored || bytes.HasPrefix(first, []byte(encryptedWords))
	switch {
	case !encrypted && len(identities) > 0:
		return nil, ErrNotEncrypted
	case !encrypted:
		return file, nil
	case len(identities) == 0:
		return nil, ErrEncrypted
	}
	var source io.Reader = file
	if armored {
		source = armor.NewReader(file)
	}
	content, err := age.Decrypt(source, identities...)
	if mismatch := (*age.NoIdentityMatchError)(nil); errors.As(err, &mismatch) {
		return nil, ErrIdentity
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return decrypted{content}, nil
}

// decrypted says of what cannot be decrypted that it is damaged.
type decrypted struct{ content io.Reader }

func (d decrypted) Read(p []byte) (int, error) {
	n, err := d.content.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}
