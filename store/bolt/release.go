package bolt

import (
	"errors"
	"fmt"
	"os"

	"sallyport/store"
)

// Release closes the file and unlocks it, so that another process can open the store. The caller must see to it that nothing
// is read or written until [Store.Retake]; those who watch wait meanwhile.
func (s *Store) Release() error {
	s.reopening.Lock()
	defer s.reopening.Unlock()
	if err := s.refusal(); err != nil {
		return err
	}
	if s.released || s.feed.Closed() {
		return store.ErrClosed
	}
	s.released = true
	return s.closeFile()
}

// Retake opens the file again after [Store.Release]. If another process has changed the store meanwhile, those who watch
// have to read everything again.
func (s *Store) Retake() error {
	s.reopening.Lock()
	defer s.reopening.Unlock()
	if !s.released {
		return errors.New("the store was not released")
	}
	return s.guard(func() error {
		if err := s.openFile(); err != nil {
			return err
		}
		s.released = false
		if s.last.revision > s.feed.Newest() {
			s.feed.Restart(s.last.revision)
		}
		s.writeHolder()
		return nil
	})
}

// writeHolder leaves who has locked the file, for the error of others: a full disk must not matter.
func (s *Store) writeHolder() {
	_ = os.WriteFile(s.path+".pid", fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
}

// closeFile closes the file, which unlocks it.
func (s *Store) closeFile() error {
	if !s.options.Inspect {
		_ = os.Remove(s.path + ".pid")
	}
	return errors.Join(s.db.Load().Close(), s.acknowledged.close())
}
