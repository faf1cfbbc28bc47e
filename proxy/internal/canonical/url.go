package canonical

import (
	"fmt"
	"net/url"
	"strings"
)

// SplitURL splits a URL that a person writes, with or without its scheme, into its host and the target of a request for
// it. It checks neither.
func SplitURL(text string) (host, target string) {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	text, _, _ = strings.Cut(text, "#")
	end := strings.IndexAny(text, "/?")
	if end < 0 {
		return text, "/"
	}
	host, target = text[:end], text[end:]
	if target[0] == '?' {
		target = "/" + target
	}
	return host, target
}

// PublicURL reads https://host[:port], or http:// for this machine alone, and returns it with its host in the one spelling.
func PublicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("write scheme and host alone, such as https://login.example.com")
	}
	host, err := HostName(u.Hostname())
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && IsLocal(host)) {
		return nil, fmt.Errorf("browsers keep the session's cookie over https only; write https:// (http:// is for localhost alone)")
	}
	origin := &url.URL{Scheme: u.Scheme, Host: host}
	if port := u.Port(); port != "" && port != defaultPort(u.Scheme) {
		origin.Host += ":" + port
	}
	return origin, nil
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
