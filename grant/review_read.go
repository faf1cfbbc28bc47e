package grant

import (
	"context"
	"fmt"

	"sallyport/store"
)

// ReadReview returns a review, and calls f with its rows from a number on, in their order, until f returns false. Without the
// review, the error is [ErrNoReview].
func (g *Grants) ReadReview(ctx context.Context, id string, from int, f func(Row) bool) (review Review, err error) {
	err = g.store.View(ctx, func(r store.Reader) error {
		if review, err = readReview(r, id); err != nil {
			return err
		}
		for e, err := range r.Scan(rowsPrefix(id), rowKey(id, max(from, 1))) {
			var row Row
			if err == nil {
				err = decode(e.Key, e.Value, &row)
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrReviewDamaged, err)
			}
			if !f(row) {
				return nil
			}
		}
		return nil
	})
	return review, err
}
