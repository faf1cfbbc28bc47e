package directory

import "slices"

// Touched is one user whom a change touched, or everybody with a name.
//
// What the directory says of a user, of a name and of who manages whom changes only
// together with the record of a user in memory, or when a person with a name ends. Each
// replacement of a record is told with both its names before and its names after, so
// that whoever was found by a name, or is no longer, is found here too.
type Touched struct {
	ID    string    // of the user; "" if a person ended who has Names
	Names [4]string // userName and externalId, before the change and after it; "" for none
	Ended bool      // sessions that began before the change are not valid any more, whatever becomes of the user
}

// Named reports whether the user has, or had, one of names.
func (t *Touched) Named(names map[string]bool) bool {
	return len(names) > 0 && slices.ContainsFunc(t.Names[:], func(name string) bool { return name != "" && names[name] })
}

// Touched returns for whom [Directory.ByID], [Directory.Lookup], [Directory.EndedAt],
// [Directory.Manager] and [Directory.Manages] may give another result than when it
// returned since, and what to call it with the next time. It reports false if that is not
// known: then it may be anybody. Manager and Manages may give another result for other
// users too, if these are related to one who is named.
//
// Take the channel of Changed before calling it, and look at users afterwards.
func (d *Directory) Touched(since uint64) (touched []Touched, now uint64, known bool) {
	return d.touched.Since(since)
}

// touch notes that a user was replaced; each may be nil.
func (d *Directory) touch(old, new *User) {
	var t Touched
	for i, u := range []*User{old, new} {
		if u != nil {
			t.ID, t.Names[2*i], t.Names[2*i+1] = u.ID, u.UserName, u.ExternalID
		}
	}
	t.Ended = new == nil || old != nil && (old.Epoch != new.Epoch || old.Damaged != new.Damaged)
	d.touching = append(d.touching, t)
}

// tellTouched tells whom the change that was applied has touched.
func (d *Directory) tellTouched() {
	d.touched.Add(d.touching...)
	d.touching = d.touching[:0]
	if cap(d.touching) > 1<<12 {
		d.touching = nil
	}
}
