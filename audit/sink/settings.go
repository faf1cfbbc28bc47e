package sink

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sallyport/audit"
	"sallyport/outbound"
)

// maxSinks is how many sinks a configuration may name.
const maxSinks = 10

// Settings are the settings of one sink. It has exactly one of the receivers.
type Settings struct {
	Name   string       `yaml:"name" doc:"in logs, metrics and the record; what was sent is remembered by it"`
	Syslog *Syslog      `yaml:"syslog" doc:"sends lines as syslog messages (RFC 5424)"`
	HTTPS  *HTTPS       `yaml:"https" doc:"posts batches of lines (NDJSON)"`
	OTLP   *OTLP        `yaml:"otlp" doc:"posts batches of lines as OpenTelemetry logs (OTLP over HTTP, protobuf)"`
	File   *File        `yaml:"file" doc:"appends lines to a file"`
	Format string       `yaml:"format" doc:"json, as in the record (the default), or ocsf"`
	Kinds  []audit.Kind `yaml:"kinds" doc:"the kinds of events to send; all by default"`
	From   string       `yaml:"from" doc:"where a new sink begins: end (the default), with what is recorded from now on, or start, with all that the record has"`
}

// HTTPS is a receiver that batches are posted to.
type HTTPS struct {
	Endpoint `yaml:",inline"`
}

// File is a file on this machine.
type File struct {
	Path string `yaml:"path" kind:"file" doc:"the file; it is created if needed, and again if it was renamed"`
}

// Endpoint is a receiver that speaks HTTP, and who Sallyport is to it.
type Endpoint struct {
	URL        outbound.URL `yaml:"url" doc:"where lines are posted; https, or http on localhost"`
	BearerFile string       `yaml:"bearer_file" kind:"file" doc:"a file with a token, for Authorization: Bearer"`
	BasicFile  string       `yaml:"basic_file" kind:"file" doc:"a file with user:password, for Authorization: Basic"`
	Gzip       bool         `yaml:"gzip" doc:"whether bodies are compressed"`
	TLS        `yaml:",inline"`
}

// TLS is how a receiver is known, and who Sallyport is to it.
type TLS struct {
	CAFile   string `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the receiver's, instead of the system's"`
	CertFile string `yaml:"cert_file" kind:"file" doc:"PEM certificate that Sallyport shows to the receiver"`
	KeyFile  string `yaml:"key_file" kind:"file" doc:"PEM key of it"`
}

// The formats of lines.
const (
	formatJSON = "json"
	formatOCSF = "ocsf"
)

// Where a new sink begins.
const (
	fromEnd   = "end"
	fromStart = "start"
)

var hints = outbound.Hints{Example: "write where lines are posted, such as https://siem.example.com/ingest",
	Credentials: "name a file with them as basic_file"}

var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`) })

// Check reports the faults in the settings of all sinks, at paths such as [0].https.url.
func Check(all []Settings, fault func(path, problem string)) {
	if len(all) > maxSinks {
		fault(fmt.Sprintf("[%d]", maxSinks), fmt.Sprintf("is one sink too many; write at most %d", maxSinks))
	}
	for i, s := range all {
		under := func(key, problem string) { fault(fmt.Sprintf("[%d]%s", i, key), problem) }
		s.check(under)
		first := slices.IndexFunc(all, func(other Settings) bool { return other.Name == s.Name })
		if first < i && s.Name != "" {
			under(".name", fmt.Sprintf("%q is the name of audit.sinks[%d] too; give each a name of its own", s.Name, first))
		}
	}
}

func (s Settings) check(fault func(path, problem string)) {
	if !namePattern().MatchString(s.Name) {
		fault(".name", fmt.Sprintf("%q is not a name; write up to 32 lower-case letters, digits and dashes, and do not change it later", s.Name))
	}
	under := func(node string) func(key, problem string) {
		return func(key, problem string) { fault("."+node+key, problem) }
	}
	receivers := 0
	if s.Syslog != nil {
		receivers++
		s.Syslog.check(under("syslog"))
	}
	if s.OTLP != nil {
		receivers++
		s.OTLP.check(under("otlp"))
	}
	if s.HTTPS != nil {
		receivers++
		s.HTTPS.check(under("https"))
	}
	if s.File != nil {
		receivers++
		if s.File.Path == "" {
			fault(".file.path", "is missing; write a path such as data/audit-copy.jsonl")
		}
	}
	if receivers != 1 {
		fault("", "must have exactly one receiver; write one of "+receiverNames)
	}
	if !slices.Contains([]string{"", formatJSON, formatOCSF}, s.Format) {
		fault(".format", fmt.Sprintf("%q is no format; write json or ocsf", s.Format))
	}
	if !slices.Contains([]string{"", fromEnd, fromStart}, s.From) {
		fault(".from", fmt.Sprintf("%q is unknown; write end, for what is recorded from now on, or start, for all that the record has", s.From))
	}
	s.checkKinds(fault)
}

const receiverNames = "syslog: {address: …}, https: {url: …}, otlp: {url: …} and file: {path: …}"

func (s Settings) checkKinds(fault func(path, problem string)) {
	if s.Kinds != nil && len(s.Kinds) == 0 {
		fault(".kinds", "is empty, so that nothing would be sent; leave it out for all kinds")
	}
	for i, kind := range s.Kinds {
		path := fmt.Sprintf(".kinds[%d]", i)
		if _, ok := audit.Describe(kind); !ok {
			fault(path, fmt.Sprintf("%q is no kind of events; docs/audit.md lists them", kind))
		} else if slices.Index(s.Kinds, kind) < i {
			fault(path, fmt.Sprintf("%q is there already; write it once", kind))
		}
	}
}

func (e Endpoint) check(fault func(key, problem string)) {
	if _, err := e.URL.Parse(hints); err != nil {
		fault(".url", err.Error())
	}
	if e.BearerFile != "" && e.BasicFile != "" {
		fault(".basic_file", "is there beside bearer_file; write one of them")
	} else if _, err := e.authorization(); err != nil {
		key := ".bearer_file"
		if e.BasicFile != "" {
			key = ".basic_file"
		}
		fault(key, err.Error())
	}
	e.TLS.check(fault)
}

// maxCredentials is the size of the largest file with credentials, in bytes.
const maxCredentials = 16 << 10

// authorization returns the value of the header Authorization, or "" if there are no credentials. Its errors do not show
// them.
func (e Endpoint) authorization() (string, error) {
	switch {
	case e.BearerFile != "":
		token, err := readCredentials(e.BearerFile)
		return "Bearer " + token, err
	case e.BasicFile != "":
		pair, err := readCredentials(e.BasicFile)
		if err == nil && !strings.Contains(pair, ":") {
			err = errors.New("does not hold user:password")
		}
		return "Basic " + encodeBase64(pair), err
	}
	return "", nil
}

// readCredentials returns the one line of a file.
func readCredentials(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case info.Size() > maxCredentials:
		return "", fmt.Errorf("has more than %d bytes: %s", maxCredentials, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("must hold one line: %s", path)
	}
	return text, nil
}
