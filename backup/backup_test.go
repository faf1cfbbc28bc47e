package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"pgregory.net/rapid"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/bolt"
)

var header = backup.Header{Made: time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC), Revision: 7, Version: "0.1.0"}

func entries(records map[string]string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(records)) {
			if !yield(store.Entry{Key: []byte(key), Value: []byte(records[key])}, nil) {
				return
			}
		}
	}
}

func write(t rapid.TB, records map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := backup.Write(&out, header, entries(records)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read returns the records of a stream, and why it is refused.
func read(text []byte) (records map[string]string, err error) {
	r, err := backup.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	records = map[string]string{}
	for e, err := range r.Records() {
		if err != nil {
			return nil, err
		}
		records[string(e.Key)] = string(e.Value)
	}
	return records, nil
}

var some = map[string]string{"a": "", "b": "1", "b\x00": strings.Repeat("x", 200), "user/\xff": "{}"}

func TestStream_ComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.MapOf(rapid.StringN(1, -1, 300), rapid.StringN(0, -1, 3000)).Draw(t, "records")
		got, err := read(write(t, records))
		if err != nil || !maps.Equal(got, records) {
			t.Fatalf("%d records come back as %d, %v", len(records), len(got), err)
		}
	})
}

func TestStream_HasHeaderAndSummary(t *testing.T) {
	var out bytes.Buffer
	written, err := backup.Write(&out, header, entries(some))
	if err != nil {
		t.Fatal(err)
	}
	r, err := backup.NewReader(&out)
	if err != nil || r.Header() != header {
		t.Fatalf("the header is %+v, %v", r.Header(), err)
	}
	for _, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.Summary() != written || written.Records != uint64(len(some)) {
		t.Errorf("the summary is %+v, and %+v was written", r.Summary(), written)
	}
}

// TestStream_RefusesEveryDamage flips every bit, cuts at every length, and puts streams together.
func TestStream_RefusesEveryDamage(t *testing.T) {
	text := write(t, some)
	for i := range len(text) * 8 {
		damaged := bytes.Clone(text)
		damaged[i/8] ^= 1 << (i % 8)
		if _, err := read(damaged); err == nil {
			t.Errorf("bit %d of byte %d may be flipped", i%8, i/8)
		}
	}
	for n := range text {
		if _, err := read(text[:n]); err == nil {
			t.Errorf("the stream may be cut after %d bytes", n)
		}
	}
	for name, other := range map[string][]byte{
		"twice": slices.Concat(text, text), "line_feed": slices.Concat(text, []byte("\n")), "zero": slices.Concat(text, []byte{0}),
		"half": slices.Concat(text, text[:len(text)/2]), "empty_first": slices.Concat(write(t, nil), text),
		"without_trailer": slices.Concat(text[:len(text)-41], text),
	} {
		if _, err := read(other); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStream_SaysWhatIsWrong(t *testing.T) {
	text := string(write(t, some))
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":      {"", backup.ErrNotBackup},
		"text":       {"public_url: https://login.example.com\n", backup.ErrNotBackup},
		"newer":      {strings.Replace(text, "backup 1\n", "backup 2\n", 1), backup.ErrNewer},
		"much_newer": {strings.Replace(text, "backup 1\n", "backup 10\n", 1), backup.ErrNewer},
		"zero":       {strings.Replace(text, "backup 1\n", "backup 0\n", 1), backup.ErrDamaged},
		"padded":     {strings.Replace(text, "backup 1\n", "backup 01\n", 1), backup.ErrDamaged},
		"no_number":  {strings.Replace(text, "backup 1\n", "backup \n", 1), backup.ErrDamaged},
		"cut":        {text[:len(text)-1], backup.ErrCutOff},
		"first_line": {"sallyport backup 1", backup.ErrCutOff},
		"huge_key":   {text[:strings.Index(text, "}")+1] + "\x01\xff\xff\xff\xff\x0f\x01", backup.ErrDamaged},
		"huge_value": {text[:strings.Index(text, "}")+1] + "\x01\x01\xff\xff\xff\x1fab", backup.ErrCutOff},
		"no_key":     {text[:strings.Index(text, "}")+1] + "\x01\x00\x01a", backup.ErrDamaged},
		"padded_key": {text[:strings.Index(text, "}")+1] + "\x01\x81\x00\x01ab", backup.ErrDamaged},
	} {
		if _, err := read([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestWrite_RefusesWhatNoReaderAccepts(t *testing.T) {
	for name, list := range map[string][]store.Entry{
		"order":      {{Key: []byte("b")}, {Key: []byte("a")}},
		"twice":      {{Key: []byte("a")}, {Key: []byte("a")}},
		"no_key":     {{}},
		"long_key":   {{Key: make([]byte, 40_000)}},
		"long_value": {{Key: []byte("a"), Value: make([]byte, 64<<20+1)}},
	} {
		_, err := backup.Write(io.Discard, header, func(yield func(store.Entry, error) bool) {
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
		})
		if err == nil {
			t.Errorf("%s is written", name)
		}
	}
	damaged := func(yield func(store.Entry, error) bool) { yield(store.Entry{Key: []byte("a")}, store.ErrDamaged) }
	if _, err := backup.Write(io.Discard, header, damaged); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a damaged record gives %v", err)
	}
}

func newStore(t *testing.T) store.Store {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// sum returns the sum of a store.
func sum(t *testing.T, st store.Store) (s backup.Summary) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) (err error) {
		s, err = backup.Sum(r.Scan(nil, nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoad_MakesEqualStore(t *testing.T) {
	records := map[string]string{}
	for i := range 12_000 {
		records[fmt.Sprintf("user/%05d", i)] = strings.Repeat("x", i%100)
	}
	records["large"] = strings.Repeat("y", 20<<20)
	r, err := backup.NewReader(bytes.NewReader(write(t, records)))
	if err != nil {
		t.Fatal(err)
	}
	first, second := newStore(t), newStore(t)
	if err := backup.Load(t.Context(), first, r.Records()); err != nil {
		t.Fatal(err)
	}
	want, err := backup.Sum(entries(records))
	if err != nil || sum(t, first) != want {
		t.Errorf("the store has %+v, want %+v, %v", sum(t, first), want, err)
	}
	err = first.View(t.Context(), func(r store.Reader) error { return backup.Load(t.Context(), second, r.Scan(nil, nil)) })
	if err != nil || sum(t, second) != want {
		t.Errorf("the copy of the store has %+v, want %+v, %v", sum(t, second), want, err)
	}
	if err := backup.Load(t.Context(), second, entries(some)); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("a store with records takes more: %v", err)
	}
}

func TestLoad_EndsWithDamage(t *testing.T) {
	text := write(t, some)
	r, err := backup.NewReader(bytes.NewReader(text[:len(text)-1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := backup.Load(t.Context(), newStore(t), r.Records()); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a stream that is cut off gives %v", err)
	}
}

// TestEdit_ReadsAsStore compares an edit with a store in which the same is done.
func TestEdit_ReadsAsStore(t *testing.T) {
	st := newStore(t)
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 4, -1)
		before := rapid.MapOf(keys, rapid.String()).Draw(t, "before")
		changes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]string {
			return [2]string{keys.Draw(t, "key"), rapid.SampledFrom([]string{"", "new"}).Draw(t, "value")}
		})).Draw(t, "changes")
		change := func(w store.Writer) error {
			for _, c := range changes {
				if err := w.Put([]byte(c[0]), []byte(c[1])); err != nil {
					return err
				}
				if c[1] == "" {
					if err := w.Delete([]byte(c[0])); err != nil {
						return err
					}
				}
			}
			return nil
		}
		prefix, from := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 2, -1).Draw(t, "prefix"), keys.Draw(t, "from")
		undo := errors.New("undo")
		var want, got, one []string
		read := func(r store.Reader) (list []string) {
			for e, err := range r.Scan([]byte(prefix), []byte(from)) {
				list = append(list, fmt.Sprintf("%s=%s %v", e.Key, e.Value, err))
			}
			value, err := r.Get([]byte(from))
			return append(list, fmt.Sprintf("%s %v", value, err))
		}
		_, err := st.Update(t.Context(), func(w store.Writer) error {
			for key, value := range before {
				if err := w.Put([]byte(key), []byte(value)); err != nil {
					return err
				}
			}
			edit := backup.NewEdit(w)
			if err := change(edit); err != nil {
				return err
			}
			got, one = read(edit), read(edit)
			if err := change(w); err != nil {
				return err
			}
			want = read(w)
			return undo
		})
		if !errors.Is(err, undo) || !slices.Equal(got, want) || !slices.Equal(one, want) {
			t.Fatalf("the edit reads %q, then %q, want %q, %v", got, one, want, err)
		}
	})
}

func TestDecrypt_DemandsIdentity(t *testing.T) {
	ours, other := identity(t), identity(t)
	var plain, encrypted, armored bytes.Buffer
	plain.Write(write(t, some))
	encrypt(t, &encrypted, plain.Bytes(), ours)
	text := armor.NewWriter(&armored)
	if _, err := text.Write(encrypted.Bytes()); err != nil || text.Close() != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file       []byte
		identities []age.Identity
		want       error
	}{
		"plain":              {plain.Bytes(), nil, nil},
		"encrypted":          {encrypted.Bytes(), []age.Identity{ours}, nil},
		"armored":            {armored.Bytes(), []age.Identity{other, ours}, nil},
		"no_identity":        {encrypted.Bytes(), nil, backup.ErrEncrypted},
		"armored_without":    {armored.Bytes(), nil, backup.ErrEncrypted},
		"other_identity":     {encrypted.Bytes(), []age.Identity{other}, backup.ErrIdentity},
		"plain_and_identity": {plain.Bytes(), []age.Identity{ours}, backup.ErrNotEncrypted},
		"empty":              {nil, nil, backup.ErrNotBackup},
		"cut_in_header":      {encrypted.Bytes()[:40], []age.Identity{ours}, backup.ErrDamaged},
		"cut":                {encrypted.Bytes()[:encrypted.Len()-1], []age.Identity{ours}, backup.ErrDamaged},
		"twice":              {slices.Concat(encrypted.Bytes(), encrypted.Bytes()), []age.Identity{ours}, backup.ErrDamaged},
	} {
		content, err := backup.Decrypt(bytes.NewReader(c.file), c.identities)
		var got map[string]string
		if err == nil {
			var text []byte
			if text, err = io.ReadAll(content); err == nil {
				got, err = read(text)
			}
		}
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || !maps.Equal(got, some)) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	made, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func encrypt(t *testing.T, to io.Writer, text []byte, identity *age.X25519Identity) {
	t.Helper()
	recipients, err := backup.ParseRecipients(strings.NewReader("# ours\n" + identity.Recipient().String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := backup.Encrypt(to, recipients)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
}

// TestParseIdentities_KeepsSecrets: an error does not contain what is in the file.
func TestParseIdentities_KeepsSecrets(t *testing.T) {
	secret := identity(t).String()
	for _, text := range []string{secret + "X", "key: " + secret, strings.ToLower(secret), ""} {
		if _, err := backup.ParseIdentities(strings.NewReader(text)); err == nil || strings.Contains(strings.ToUpper(err.Error()), secret[20:60]) {
			t.Errorf("%q gives %v", text, err)
		}
	}
	if found, err := backup.ParseIdentities(strings.NewReader("# made\n" + secret + "\n")); err != nil || len(found) != 1 {
		t.Errorf("a file of age-keygen gives %d identities, %v", len(found), err)
	}
}

func FuzzReader(f *testing.F) {
	var out bytes.Buffer
	if _, err := backup.Write(&out, header, entries(some)); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		records, err := read(text)
		if err != nil {
			return
		}
		r, err := backup.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if _, err := backup.Write(&again, r.Header(), entries(records)); err != nil || len(text) < again.Len()-64<<10 {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
