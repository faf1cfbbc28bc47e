package admin

import (
	"context"
	"slices"
	"time"
)

// SearchRecordFor searches as [Admin.SearchRecord] does, in as many of its steps as a time allows, until there are n lines.
func (a *Admin) SearchRecordFor(ctx context.Context, actor Actor, f RecordFilter, n int, within time.Duration) (all RecordLines, err error) {
	all.Lines = []RecordLine{}
	for end := time.Now().Add(within); ; {
		found, err := a.SearchRecord(ctx, actor, f, n-len(all.Lines))
		if err != nil {
			return all, err
		}
		all.Lines = append(all.Lines, found.Lines...)
		all.Next, all.CutOff, all.Sources = found.Next, found.CutOff, found.Sources
		stuck := found.Next == f.Before && len(found.Lines) == 0
		if found.Next == "" || len(all.Lines) >= n || stuck || !time.Now().Before(end) || ctx.Err() != nil {
			break
		}
		f.Before = found.Next
	}
	if len(all.Replicas) > 1 {
		slices.SortStableFunc(all.Lines, func(x, y RecordLine) int { return y.Time.Compare(x.Time) })
	}
	return all, ctx.Err()
}
