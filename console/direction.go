package console

import "bytes"

// Straighten replaces, in a page, the characters that change the direction of the text behind them (Unicode's embeddings,
// overrides and isolates) by U+FFFD, in place. Texts of ours have none, and a name that has one would make what stands beside
// it read as something else. Beside other text, pages put names into <bdi>, for those of scripts that are written from the right.
func Straighten(page []byte) {
	for rest := page; ; {
		i := bytes.IndexByte(rest, 0xe2)
		if i < 0 || i+2 >= len(rest) {
			return
		}
		second, third := rest[i+1], rest[i+2]
		if second == 0x80 && third >= 0xaa && third <= 0xae || second == 0x81 && third >= 0xa6 && third <= 0xa9 { // U+202A to U+202E, U+2066 to U+2069
			copy(rest[i:], "\uFFFD")
		}
		rest = rest[i+1:]
	}
}

// Straightened returns text as pages show it.
func Straightened(text string) string {
	shown := []byte(text)
	Straighten(shown)
	return string(shown)
}
