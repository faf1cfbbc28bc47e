package admin

import (
	"slices"
	"strings"
)

const (
	maxDiffCells = 4 << 20 // of the table by which two texts are compared
	maxDiffLines = 400     // of a result
	diffContext  = 2       // lines before and after what differs
)

// DiffLines returns the lines that differ between two texts, with some around them. cut is true if that is not all.
func DiffLines(before, after string) (lines []DiffLine, cut bool) {
	old, now := splitLines(before), splitLines(after)
	first := 0
	for first < min(len(old), len(now)) && old[first] == now[first] {
		first++
	}
	last := 0 // counted from the end
	for last < min(len(old), len(now))-first && old[len(old)-1-last] == now[len(now)-1-last] {
		last++
	}
	all := make([]DiffLine, 0, len(old)+len(now))
	for _, text := range old[:first] {
		all = append(all, DiffLine{" ", text})
	}
	all = append(all, differing(old[first:len(old)-last], now[first:len(now)-last])...)
	for _, text := range old[len(old)-last:] {
		all = append(all, DiffLine{" ", text})
	}
	lines = withoutEqual(all)
	if len(lines) > maxDiffLines {
		return lines[:maxDiffLines], true
	}
	return lines, false
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// differing returns the lines of both texts, those that both have once, as the longest common subsequence finds them. If that
// takes too much memory, all lines differ.
func differing(old, now []string) (lines []DiffLine) {
	i, j, width := 0, 0, len(now)+1
	common := []uint16{} // common[i*width+j] is the length of the longest common subsequence of old[i:] and now[j:]
	if (len(old)+1)*width <= maxDiffCells {
		common = make([]uint16, (len(old)+1)*width)
		for i, mine := range slices.Backward(old) {
			for j, other := range slices.Backward(now) {
				if mine == other {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	for i < len(old) || j < len(now) {
		switch {
		case i < len(old) && j < len(now) && len(common) > 0 && old[i] == now[j]:
			lines = append(lines, DiffLine{" ", old[i]})
			i, j = i+1, j+1
		case i < len(old) && (j == len(now) || len(common) == 0 || common[(i+1)*width+j] >= common[i*width+j+1]):
			lines = append(lines, DiffLine{"-", old[i]})
			i++
		default:
			lines = append(lines, DiffLine{"+", now[j]})
			j++
		}
	}
	return lines
}

// withoutEqual leaves out lines that are equal and far from those that differ.
func withoutEqual(all []DiffLine) (lines []DiffLine) {
	near := make([]bool, len(all))
	for i, line := range all {
		if line.Sign == " " {
			continue
		}
		for k := max(i-diffContext, 0); k <= min(i+diffContext, len(all)-1); k++ {
			near[k] = true
		}
	}
	for i, line := range all {
		switch {
		case near[i]:
			lines = append(lines, line)
		case i > 0 && near[i-1] || i == 0:
			lines = append(lines, DiffLine{"@", ""})
		}
	}
	if len(lines) == 1 && lines[0].Sign == "@" {
		return nil
	}
	return lines
}
