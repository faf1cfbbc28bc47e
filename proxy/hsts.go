package proxy

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HSTS is the setting of Strict-Transport-Security (RFC 6797). A browser that received it uses https alone until max_age
// has passed.
type HSTS struct {
	MaxAge            time.Duration `yaml:"max_age" doc:"how long browsers use https alone after a response; 0s: no header is sent. To take it back, write 1s for as long as it was"`
	IncludeSubdomains bool          `yaml:"include_subdomains" doc:"for all names below the hosts too, whoever serves them"`
	Preload           bool          `yaml:"preload" doc:"consent to the lists built into browsers; removal from them takes months"`
}

const aYear = 365 * 24 * time.Hour

func (s HSTS) check(fault func(path, problem string)) {
	switch {
	case s.MaxAge < 0 || s.MaxAge > 0 && s.MaxAge < time.Second:
		fault("max_age", fmt.Sprintf("%s is shorter than the second that browsers count in; write a duration such as 8760h, or 0s for no header", s.MaxAge))
	case s.Preload && (!s.IncludeSubdomains || s.MaxAge < aYear):
		fault("preload", "browsers accept this only with include_subdomains: true and a max_age of 8760h or more; write them too")
	case s.IncludeSubdomains && s.MaxAge == 0:
		fault("include_subdomains", "has no effect without max_age; write one such as 8760h")
	}
}

// header returns the value of the header, or "" if none must be sent. On a developer's own machine the header would hold
// for everything else that is served there, so it is not sent.
func (s HSTS) header(public *url.URL, host string) string {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if s.MaxAge == 0 || public.Scheme != "https" || err == nil || isLocal(host) {
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

// hstsHeader returns the value of the header for the response, which is "" unless the client used https and a host of
// ours.
func (req *request) hstsHeader() string {
	if req.scheme != "https" || !req.routing.hasHost(req.host) {
		return ""
	}
	return req.routing.hsts
}
