package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"
)

// Warn reports what is allowed but may not be meant, as far as the settings themselves tell. other is the path of another
// value that a warning is about, or "".
func (f *File) Warn(warn func(path, other, problem string)) {
	f.Settings.Warn(warn)
	f.Audit.Warn(func(path, problem string) { warn(join("audit", path), "", problem) })
}

// warn is Warn that reads the files which f names too.
func (f *File) warn(warn func(path, other, problem string)) {
	f.Warn(warn)
	for _, file := range f.files() {
		if strings.HasSuffix(file.key, "ca_file") || strings.HasSuffix(file.key, "cert_file") {
			warnOfCertificates(file, time.Now(), func(problem string) { warn(file.key, "", problem) })
		}
	}
}

// warnOfCertificates reports certificates in a file that cannot be used.
func warnOfCertificates(file namedFile, now time.Time, warn func(problem string)) {
	data, err := os.ReadFile(file.path)
	if err != nil {
		return // reported already, unless the file was removed since
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		switch cert, err := x509.ParseCertificate(block.Bytes); {
		case err != nil:
			warn(fmt.Sprintf("%s has a part that is no certificate, which is ignored: %v", file.path, err))
		case now.After(cert.NotAfter):
			warn(fmt.Sprintf("%s has a certificate that has expired: that of %q, on %s, and nothing that it signs is accepted", file.path, cert.Subject, cert.NotAfter.UTC().Format(time.DateOnly)))
		case now.Before(cert.NotBefore):
			warn(fmt.Sprintf("%s has a certificate that is not valid yet: that of %q, before %s", file.path, cert.Subject, cert.NotBefore.UTC().Format(time.RFC3339)))
		}
	}
}
