/* Counts the words of a text that arrives in pieces. */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

#define TALLY_VERSION "1.2.0"

struct tally;

/* A word and how often it was seen. The word belongs to the tally. */
struct tally_entry {
    const char *word;
    size_t count;
};

/* NULL when there is no memory. */
struct tally *tally_new(void);
void tally_free(struct tally *t);

/* Reads more text. A word may go on in the next piece. 0, or -1 when there is no memory. */
int tally_add(struct tally *t, const char *text, size_t len);

/* The text has ended: the last word is counted too. 0, or -1 when there is no memory. */
int tally_end(struct tally *t);

/* How many words, how many different ones, and how often one of them (in lower case). */
size_t tally_total(const struct tally *t);
size_t tally_distinct(const struct tally *t);
size_t tally_count(const struct tally *t, const char *word);

/* Fills at most n entries, the most frequent first and equal ones by their letters. Returns how many. */
size_t tally_top(const struct tally *t, struct tally_entry *out, size_t n);

#endif
