package listen

import "sallyport/store"

// KeepCertificates gives a copy of a store, which has none, the certificates and accounts of the store in whose place it is
// put, so that they need not be ordered again.
func KeepCertificates(former store.Reader, w store.Writer) error {
	return store.CopyAll(w, former, []byte(acmeKeys))
}
