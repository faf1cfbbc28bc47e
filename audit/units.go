package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport/duration"
)

// Rotation says when a new file begins, and how long the former ones are kept.
type Rotation struct {
	Size Size `yaml:"size" doc:"when a file is larger, a new one begins; such as 100MiB, or off"`
	Keep Keep `yaml:"keep" doc:"files whose last line is older are deleted; such as 400d, or off"`
}

// Size is a number of bytes, or 0 for no limit.
type Size int64

// Keep is for how long files are kept, or 0 for ever.
type Keep time.Duration

const (
	minSize     = 64 << 10
	maxSize     = 1 << 40
	defaultSize = Size(100 << 20)
	minKeep     = duration.Day
	maxKeep     = 3650 * duration.Day
	defaultKeep = Keep(400 * duration.Day)
)

// sizeUnits are the units of sizes, the largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText reads a size such as 100MiB, a number of bytes, or off.
func (s *Size) UnmarshalText(text []byte) error {
	written := string(text)
	if written == "off" || written == "0" {
		*s = 0
		return nil
	}
	number, factor := written, int64(1)
	for _, unit := range sizeUnits {
		if rest, ok := strings.CutSuffix(written, unit.name); ok {
			number, factor = rest, unit.bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > maxSize/factor || n*factor < minSize {
		return errors.New("must be a size from 64KiB to 1024GiB, such as 100MiB, or off")
	}
	*s = Size(n * factor)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (s Size) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("off"), nil
	}
	for _, unit := range sizeUnits {
		if int64(s)%unit.bytes == 0 {
			return fmt.Appendf(nil, "%d%s", int64(s)/unit.bytes, unit.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

// UnmarshalText reads a number of days such as 400d, a duration such as 48h, or off.
func (k *Keep) UnmarshalText(text []byte) error {
	d, err := duration.ParseOrOff(string(text), minKeep, maxKeep)
	if err == nil {
		*k = Keep(d)
	}
	return err
}

// MarshalText is the inverse of UnmarshalText.
func (k Keep) MarshalText() ([]byte, error) {
	return []byte(duration.FormatOrOff(time.Duration(k))), nil
}
