package canonical

import "strings"

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
