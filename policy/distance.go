package policy

import "strings"

// Nearest returns the name among known that a misspelled name most probably means: the one with the fewest typing
// mistakes, ignoring case, but at most typos, and not as many as it has letters. It returns "" if there is none.
func Nearest(name string, known []string, typos int) string {
	best, least := "", typos+1
	for _, k := range known {
		if n := Distance(strings.ToLower(name), strings.ToLower(k)); n < min(least, len(k)) {
			best, least = k, n
		}
	}
	return best
}

// Distance returns the Levenshtein distance between a and b, which are short: how many bytes must be inserted, removed
// or replaced. It finds what a misspelled name in the configuration may mean.
func Distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
