/* tally [-n COUNT] [FILE...]: the most frequent words as one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally.h"

#define TOP_MAX 1000

static int read_all(struct tally *t, FILE *in)
{
    char piece[4096];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, in)) > 0)
        if (tally_add(t, piece, got) != 0)
            return -1;
    return ferror(in) ? -1 : tally_end(t);
}

static int read_file(struct tally *t, const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return -1;
    }
    int result = read_all(t, in);
    if (result != 0)
        fprintf(stderr, "tally: cannot read %s\n", path);
    fclose(in);
    return result;
}

static void print(const struct tally *t, size_t n)
{
    static struct tally_entry top[TOP_MAX];
    size_t len = tally_top(t, top, n);
    printf("{\"total\": %zu, \"distinct\": %zu, \"top\": [", tally_total(t), tally_distinct(t));
    /* A word holds letters and digits only, so nothing in it needs escaping. */
    for (size_t i = 0; i < len; i++)
        printf("%s{\"word\": \"%s\", \"count\": %zu}", i ? ", " : "", top[i].word, top[i].count);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    size_t n = 10;
    int arg = 1;
    if (arg < argc && strcmp(argv[arg], "--version") == 0) {
        puts(TALLY_VERSION);
        return 0;
    }
    if (arg + 1 < argc && strcmp(argv[arg], "-n") == 0) {
        char *end;
        unsigned long value = strtoul(argv[arg + 1], &end, 10);
        if (*end || value > TOP_MAX) {
            fprintf(stderr, "tally: -n wants a number up to %d, not '%s'\n", TOP_MAX, argv[arg + 1]);
            return 2;
        }
        n = value;
        arg += 2;
    }
    struct tally *t = tally_new();
    if (!t)
        return 1;
    int result = arg < argc ? 0 : read_all(t, stdin);
    for (; result == 0 && arg < argc; arg++)
        result = read_file(t, argv[arg]);
    if (result == 0)
        print(t, n);
    tally_free(t);
    return result == 0 ? 0 : 1;
}
