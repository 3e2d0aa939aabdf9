/* The library's tests. test_tally REPORT.xml also writes a JUnit report. */
#include <stdio.h>
#include <string.h>

#include "tally.h"

static FILE *cases; /* the <testcase> elements, until their number is known */
static int ran, failed;
static const char *failure;

#define CHECK(what) \
    do { \
        if (!(what) && !failure) \
            failure = #what; \
    } while (0)

static struct tally *of(const char *text)
{
    struct tally *t = tally_new();
    tally_add(t, text, strlen(text));
    tally_end(t);
    return t;
}

static void empty_text_has_no_words(void)
{
    struct tally *t = of("");
    struct tally_entry top[1];
    CHECK(tally_total(t) == 0);
    CHECK(tally_distinct(t) == 0);
    CHECK(tally_top(t, top, 1) == 0);
    tally_free(t);
}

static void case_is_ignored(void)
{
    struct tally *t = of("The the THE");
    CHECK(tally_count(t, "the") == 3);
    CHECK(tally_distinct(t) == 1);
    tally_free(t);
}

static void punctuation_ends_a_word(void)
{
    struct tally *t = of("to be, or not to be: that");
    CHECK(tally_total(t) == 7);
    CHECK(tally_count(t, "be") == 2);
    CHECK(tally_count(t, "be,") == 0);
    tally_free(t);
}

static void letters_outside_ascii_stay_in_their_word(void)
{
    struct tally *t = of("caf\xc3\xa9 \xc3\xbc" "ber caf\xc3\xa9");
    CHECK(tally_count(t, "caf\xc3\xa9") == 2);
    CHECK(tally_total(t) == 3);
    tally_free(t);
}

static void a_word_may_come_in_pieces(void)
{
    struct tally *t = tally_new();
    tally_add(t, "over", 4);
    tally_add(t, "flow over", 9);
    tally_end(t);
    CHECK(tally_count(t, "overflow") == 1);
    CHECK(tally_count(t, "over") == 1);
    tally_free(t);
}

static void top_is_by_count_then_by_letters(void)
{
    struct tally *t = of("b a c c b a d");
    struct tally_entry top[3];
    CHECK(tally_top(t, top, 3) == 3);
    CHECK(strcmp(top[0].word, "a") == 0 && top[0].count == 2);
    CHECK(strcmp(top[1].word, "b") == 0 && top[1].count == 2);
    CHECK(strcmp(top[2].word, "c") == 0 && top[2].count == 2);
    tally_free(t);
}

static void many_words_are_all_kept(void)
{
    struct tally *t = tally_new();
    char word[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) {
            int len = snprintf(word, sizeof word, "w%d ", i);
            tally_add(t, word, (size_t)len);
        }
    CHECK(tally_distinct(t) == 5000);
    CHECK(tally_total(t) == 10000);
    CHECK(tally_count(t, "w4999") == 2);
    tally_free(t);
}

static void run(const char *name, void (*test)(void))
{
    failure = NULL;
    test();
    ran++;
    printf("%s %s%s%s\n", failure ? "FAIL" : "ok  ", name, failure ? ": " : "", failure ? failure : "");
    fprintf(cases, "  <testcase classname=\"tally\" name=\"%s\">", name);
    if (failure) {
        failed++;
        fputs("<failure message=\"check failed\">", cases);
        for (const char *c = failure; *c; c++) {
            if (*c == '<')
                fputs("&lt;", cases);
            else if (*c == '&')
                fputs("&amp;", cases);
            else
                fputc(*c, cases);
        }
        fputs("</failure>", cases);
    }
    fputs("</testcase>\n", cases);
}

static int write_report(const char *path)
{
    FILE *report = fopen(path, "w");
    if (!report) {
        perror(path);
        return 1;
    }
    fprintf(report, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    fprintf(report, "<testsuite name=\"tally\" tests=\"%d\" failures=\"%d\">\n", ran, failed);
    rewind(cases);
    for (int c; (c = fgetc(cases)) != EOF;)
        fputc(c, report);
    fprintf(report, "</testsuite>\n");
    return fclose(report) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    cases = tmpfile();
    if (!cases) {
        perror("tmpfile");
        return 1;
    }
    run("empty_text_has_no_words", empty_text_has_no_words);
    run("case_is_ignored", case_is_ignored);
    run("punctuation_ends_a_word", punctuation_ends_a_word);
    run("letters_outside_ascii_stay_in_their_word", letters_outside_ascii_stay_in_their_word);
    run("a_word_may_come_in_pieces", a_word_may_come_in_pieces);
    run("top_is_by_count_then_by_letters", top_is_by_count_then_by_letters);
    run("many_words_are_all_kept", many_words_are_all_kept);
    printf("%d tests, %d failed\n", ran, failed);
    if (argc > 1 && write_report(argv[1]) != 0)
        return 1;
    return failed != 0;
}
