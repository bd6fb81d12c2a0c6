/*
 * Memory that is rewritten all the time, page after page, and looked at before that: run in guests by test_pages.py.
 *
 * What a page holds follows from its number and from the round in which it was written. Before it is written again, all
 * of it must be what the round before wrote. So memory that is not of one instant, this program's place in it included,
 * is found out within a round.
 *
 * pages BYTES FILE: FILE gets the number of rounds that are done, and that of the pages that were wrong.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t) };

static uint64_t first(uint64_t page, uint64_t round)
{
    return page * 0x9e3779b97f4a7c15u ^ round * 0xc2b2ae3d27d4eb4fu;
}

static int wrong(const volatile uint64_t *words, uint64_t value)
{
    uint64_t differs = 0;
    for (int i = 0; i < WORDS; i++, value += 0x165667b19e3779f9u)
        differs |= words[i] ^ value;
    return differs != 0;
}

static void fill(volatile uint64_t *words, uint64_t value)
{
    for (int i = 0; i < WORDS; i++, value += 0x165667b19e3779f9u)
        words[i] = value;
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    uint64_t pages = strtoull(words[1], NULL, 10) / PAGE, found = 0;
    uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int file = open(words[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (memory == MAP_FAILED || file < 0)
        return 1;
    for (uint64_t round = 0;; round++) {
        char text[64];
        int length = snprintf(text, sizeof text, "%20llu %20llu\n", (unsigned long long)round, (unsigned long long)found);
        if (pwrite(file, text, length, 0) != length)
            return 1;
        for (uint64_t page = 0; page < pages; page++) {
            if (round)
                found += wrong(memory + page * WORDS, first(page, round));
            fill(memory + page * WORDS, first(page, round + 1));
        }
    }
}
