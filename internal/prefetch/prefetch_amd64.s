//go:build !purego

#include "textflag.h"

// PREFETCHW, which the assembler does not know: 0F 0D /1. A processor without it does nothing.

// func Following(p *byte)
TEXT ·Following(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x48; BYTE $64  // PREFETCHW 64(AX)
	BYTE $0x0F; BYTE $0x0D; BYTE $0x88; LONG $128 // PREFETCHW 128(AX)
	RET

// func Word(p *int64)
TEXT ·Word(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX)
	RET
