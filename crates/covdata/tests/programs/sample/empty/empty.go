// Package empty has functions, and no statement in them.
package empty

// Nothing does nothing.
func Nothing() {}

// Void takes a number and does nothing with it.
func Void(int) {}
