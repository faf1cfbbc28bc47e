package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// UnfinishedKey is in a store while the records of another one are being copied into it, and no longer. An engine opens
// such a store for nothing else: what is missing would be denied to some, and allowed to those whom a missing record denies.
const UnfinishedKey = "copying/from"

// ErrUnfinished means that not all records were copied into a store.
var ErrUnfinished = errors.New("it is an unfinished copy")

// Unfinished is the value at [UnfinishedKey].
type Unfinished struct {
	From  string    `json:"from"`  // the store that is copied, as `sallyport store copy` names it
	To    string    `json:"to"`    // the copy
	Begun time.Time `json:"begun"` // when copying began
}

// DemandFinished returns an error that is ErrUnfinished, and says what to do, if the store that r reads is an unfinished copy.
func DemandFinished(r Reader) error {
	text, err := r.Get([]byte(UnfinishedKey))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	var mark Unfinished
	if err == nil {
		err = json.Unmarshal(text, &mark)
	}
	if err != nil {
		return fmt.Errorf("%w, and what it is a copy of cannot be read (%w); remove it, and copy again with `sallyport store copy`", ErrUnfinished, err)
	}
	return fmt.Errorf("%w of %s; go on with `sallyport store copy --from %s --to %s`, or remove it", ErrUnfinished, mark.From, mark.From, mark.To)
}
