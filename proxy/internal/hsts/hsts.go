// Package hsts says what Strict-Transport-Security tells browsers (RFC 6797).
package hsts

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sallyport/proxy/internal/canonical"
)

// Settings are the setting of Strict-Transport-Security. A browser that received it uses https alone until max_age has
// passed.
type Settings struct {
	MaxAge            time.Duration `yaml:"max_age" doc:"how long browsers use https alone after a response; 0s: no header is sent. To take it back, write 1s for as long as it was"`
	IncludeSubdomains bool          `yaml:"include_subdomains" doc:"for all names below the hosts too, whoever serves them"`
	Preload           bool          `yaml:"preload" doc:"consent to the lists built into browsers; removal from them takes months"`
}

// Year is the usual max_age.
const Year = 365 * 24 * time.Hour

// Check reports every fault of s by its path.
func (s Settings) Check(fault func(path, problem string)) {
	switch {
	case s.MaxAge < 0 || s.MaxAge > 0 && s.MaxAge < time.Second:
		fault("max_age", fmt.Sprintf("%s is shorter than the second that browsers count in; write a duration such as 8760h, or 0s for no header", s.MaxAge))
	case s.Preload && (!s.IncludeSubdomains || s.MaxAge < Year):
		fault("preload", "browsers accept this only with include_subdomains: true and a max_age of 8760h or more; write them too")
	case s.IncludeSubdomains && s.MaxAge == 0:
		fault("include_subdomains", "has no effect without max_age; write one such as 8760h")
	}
}

// Header returns the value of the header, or "" if none must be sent. On a developer's own machine the header would hold
// for everything else that is served there, so it is not sent.
func (s Settings) Header(public *url.URL, host string) string {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if s.MaxAge == 0 || public.Scheme != "https" || err == nil || canonical.IsLocal(host) {
		return ""
	}
	value := "max-age=" + strconv.Itoa(int(s.MaxAge/time.Second))
	if s.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if s.Preload {
		value += "; preload"
	}
	return value
}
