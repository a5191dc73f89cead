package protocol

import (
	"hash/crc32"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C adds p to a running CRC-32C; start with 0.
func CRC32C(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// JoinCRC32C returns the CRC-32C of two byte strings in a row, from the CRC-32C of each and the length of the
// second. It takes about a tenth of a microsecond for any length, so the sum of a large batch can be taken in pieces, while each is
// still in the processor's cache, and before the header in front of them is known.
func JoinCRC32C(first, second uint32, length int) uint32 {
	return timesX(first, length) ^ second
}

// A CRC is the remainder of a polynomial over the integers modulo 2, divided by the Castagnoli polynomial. The functions
// below have it as hash/crc32 does: bit 31 is the coefficient of x^0.

// timesX returns a * x^(8n): the remainder of what a is the remainder of, with n zero bytes behind it.
func timesX(a uint32, n int) uint32 {
	powers := bytePowers()
	for i := 0; n > 0; i, n = i+1, n>>8 {
		if digit := n & 0xff; digit != 0 {
			a = multiply(a, powers[i][digit])
		}
	}
	return a
}

// bytePowers returns x^(8n) for all n of one digit to the base of 256: the first index is the place of the digit, the
// second the digit. It holds lengths of up to four bytes, more than Kafka's lengths have.
var bytePowers = sync.OnceValue(func() *[4][256]uint32 {
	const one = 1 << 31
	var p [4][256]uint32
	step := uint32(one >> 8) // x^8
	for place := range p {
		p[place][0] = one
		for digit := 1; digit < 256; digit++ {
			p[place][digit] = multiply(p[place][digit-1], step)
		}
		step = multiply(p[place][255], step)
	}
	return &p
})

// multiply returns a * b modulo the Castagnoli polynomial.
func multiply(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
