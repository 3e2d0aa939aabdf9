#include "tally.h"

#include <stdlib.h>
#include <string.h>

/* A slot of the open-addressing table; free while word is NULL. */
struct slot {
    char *word;
    size_t count;
};

struct tally {
    struct slot *slots;
    size_t capacity; /* a power of two */
    size_t distinct;
    size_t total;
    char *pending; /* the word that is being read */
    size_t pending_len;
    size_t pending_cap;
};

static size_t hash(const char *word)
{
    size_t h = 1469598103934665603u;
    for (; *word; word++)
        h = (h ^ (unsigned char)*word) * 1099511628211u;
    return h;
}

static struct slot *find(struct slot *slots, size_t capacity, const char *word)
{
    size_t i = hash(word) & (capacity - 1);
    while (slots[i].word && strcmp(slots[i].word, word) != 0)
        i = (i + 1) & (capacity - 1);
    return &slots[i];
}

struct tally *tally_new(void)
{
    struct tally *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->capacity = 64;
    t->slots = calloc(t->capacity, sizeof *t->slots);
    if (!t->slots) {
        free(t);
        return NULL;
    }
    return t;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->capacity; i++)
        free(t->slots[i].word);
    free(t->slots);
    free(t->pending);
    free(t);
}

static int grow(struct tally *t)
{
    size_t capacity = t->capacity * 2;
    struct slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i].word)
            *find(slots, capacity, t->slots[i].word) = t->slots[i];
    free(t->slots);
    t->slots = slots;
    t->capacity = capacity;
    return 0;
}

int tally_end(struct tally *t)
{
    if (t->pending_len == 0)
        return 0;
    if ((t->distinct + 1) * 4 > t->capacity * 3 && grow(t) != 0)
        return -1;
    t->pending[t->pending_len] = '\0';
    struct slot *slot = find(t->slots, t->capacity, t->pending);
    if (!slot->word) {
        slot->word = malloc(t->pending_len + 1);
        if (!slot->word)
            return -1;
        memcpy(slot->word, t->pending, t->pending_len + 1);
        t->distinct++;
    }
    slot->count++;
    t->total++;
    t->pending_len = 0;
    return 0;
}

static int push(struct tally *t, char c)
{
    /* One byte more than the word, for its end mark. */
    if (t->pending_len + 1 >= t->pending_cap) {
        size_t cap = t->pending_cap ? t->pending_cap * 2 : 32;
        char *bigger = realloc(t->pending, cap);
        if (!bigger)
            return -1;
        t->pending = bigger;
        t->pending_cap = cap;
    }
    t->pending[t->pending_len++] = c;
    return 0;
}

int tally_add(struct tally *t, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c - 'A' + 'a');
        /* Every byte of a letter outside ASCII has its high bit set in UTF-8. */
        int in_word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
        if ((in_word ? push(t, (char)c) : tally_end(t)) != 0)
            return -1;
    }
    return 0;
}

size_t tally_total(const struct tally *t)
{
    return t->total;
}

size_t tally_distinct(const struct tally *t)
{
    return t->distinct;
}

size_t tally_count(const struct tally *t, const char *word)
{
    const struct slot *slot = find(t->slots, t->capacity, word);
    return slot->word ? slot->count : 0;
}

static int comes_before(const struct slot *a, const struct tally_entry *b)
{
    return a->count != b->count ? a->count > b->count : strcmp(a->word, b->word) < 0;
}

size_t tally_top(const struct tally *t, struct tally_entry *out, size_t n)
{
    size_t len = 0;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < t->capacity; i++) {
        const struct slot *slot = &t->slots[i];
        if (!slot->word || (len == n && !comes_before(slot, &out[len - 1])))
            continue;
        size_t at = len < n ? len++ : len - 1;
        for (; at > 0 && comes_before(slot, &out[at - 1]); at--)
            out[at] = out[at - 1];
        out[at] = (struct tally_entry){slot->word, slot->count};
    }
    return len;
}
