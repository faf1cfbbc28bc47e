package receipt

import (
	"errors"
	"fmt"
	"slices"

	"sallyport/audit"
)

// Compared says how many lines that a receipt rests on are in a record.
type Compared struct {
	Same    int // they are there, and the same
	Missing int // they are not there: their files were deleted or are elsewhere, such as those of another replica
	Later   int // they are not there: the record ends before them
}

// Compare compares the lines that a receipt rests on with those of a record. A line that is another one is
// [ErrUnsound], and so is a line that is missing between others.
func Compare(r *Receipt, record *audit.Record) (c Compared, err error) {
	spans, err := record.Spans()
	if err != nil {
		return c, err
	}
	for _, ref := range r.Refs() {
		i := slices.IndexFunc(spans, func(s audit.Span) bool { return ref.Replica == "" || s.Replica == "" || s.Replica == ref.Replica })
		if i < 0 {
			c.Missing++
			continue
		}
		span := spans[i]
		text, err := record.LineOf(span.Replica, ref.Line)
		switch {
		case errors.Is(err, audit.ErrNoLine) && ref.Line < span.First:
			c.Missing++
			continue
		case errors.Is(err, audit.ErrNoLine) && ref.Line > span.Last:
			c.Later++
			continue
		case errors.Is(err, audit.ErrNoLine):
			return c, fmt.Errorf("%w: line %d, on which it rests, is missing in the record, which has lines %d to %d", ErrUnsound, ref.Line, span.First, span.Last)
		case err != nil:
			return c, err
		}
		l, err := audit.CheckLine(text)
		if err != nil {
			return c, fmt.Errorf("%w: %w", ErrUnsound, err)
		}
		if l.Hash != ref.Hash {
			return c, fmt.Errorf("%w: line %d of the record is not the one on which it rests: the record was written again, or is another one", ErrUnsound, ref.Line)
		}
		c.Same++
	}
	return c, nil
}
