# The guest that tells whether an accelerator really runs 64-bit code, see accel.py.
#
# It is the last 512 bytes of a 64 KiB firmware image, so the processor starts in it: 16 bit at the reset vector, 32 bit,
# page tables, long mode, one CPUID, then a loop of 2^25 turns. Hardware needs some 20 ms for the loop, TCG 0.1 s; a KVM
# that interprets guest code gets nowhere within the time limit. The end is a write to the isa-debug-exit device.
#
#   as --64 -o probe.o probe_guest.S && ld -Ttext=0xfffffe00 --oformat binary -o probe.bin probe.o
#
# probe_guest.py holds the outcome; a test compares the two.

        .code16
        .globl _start
_start:
        cli
        data32 addr32 lgdt %cs:(gdt_pointer - _start + 0xfe00)
        mov     %cr0, %eax
        or      $1, %al                 # protected mode
        mov     %eax, %cr0
        data32 ljmp $0x08, $protected

        .code32
protected:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     $0x1000, %edi
        mov     $0x1000, %ecx
        cld
        rep stosl                       # clear the page tables at 0x1000 to 0x4fff
        movl    $0x2003, 0x1000         # level 4: the first 512 GiB
        movl    $0x3003, 0x2000         # level 3: the first GiB ...
        movl    $0x4003, 0x2018         # ... and the fourth, where this code is
        movl    $0x83, 0x3000           # level 2: the first 2 MiB ...
        movl    $0xffe00083, 0x4ff8     # ... and the last 2 MiB below 4 GiB
        mov     %cr4, %eax
        or      $0x20, %eax             # physical address extension
        mov     %eax, %cr4
        mov     $0x1000, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax            # long mode
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax       # paging
        mov     %eax, %cr0
        ljmp    $0x18, $long

        .code64
long:
        mov     $0x0123456789abcdef, %rax
        mov     %rax, %r15
        xor     %eax, %eax
        cpuid
        mov     $0x2000000, %ecx
1:      dec     %ecx
        jnz     1b
        mov     $0x0123456789abcdef, %rax
        cmp     %rax, %r15              # were there really 64 bits?
        jne     2f
        mov     $0x2a, %al
        out     %al, $0xf4              # QEMU exits with 2 * 0x2a + 1
2:      hlt
        jmp     2b

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      # 0x08: code, 32 bit
        .quad   0x00cf93000000ffff      # 0x10: data
        .quad   0x00af9b000000ffff      # 0x18: code, 64 bit
gdt_pointer:
        .word   31
        .long   gdt

        .org    0x1f0                   # the reset vector, 0xfffffff0
        .code16
        jmp     _start
        .org    0x200
