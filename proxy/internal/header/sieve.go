package header

// sieve tells of most names at once that they are not in a set, by their length and their first letter.
type sieve [MaxNameBytes + 1]uint32

// add adds a CGI name to the set.
func (s *sieve) add(cgi string) { s[len(cgi)] |= 1 << letter(cgi[0]) }

// addPrefix adds all names whose CGI name begins with prefix.
func (s *sieve) addPrefix(prefix string) {
	for n := len(prefix); n < len(s); n++ {
		s[n] |= 1 << letter(prefix[0])
	}
}

// mayHave reports whether the CGI name of key may be in the set. Nothing is known of a nil sieve.
func (s *sieve) mayHave(key string) bool {
	return s == nil || key == "" || s[min(len(key), MaxNameBytes)]&(1<<letter(cgiBytes[key[0]])) != 0
}

// letter returns the place of a letter of CGI names in the alphabet; that after the last for any other byte.
func letter(c byte) uint8 { return min(c-'A', 'Z'-'A'+1) }
