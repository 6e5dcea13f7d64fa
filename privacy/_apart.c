/* Takes one line of JSON apart: what repeats from line to line, and what differs.

   apart(line) -> (residue, values), or None where the line is for a parser.
   find(forms, line) -> (form, values), or None where it has no form among those.
   split(bundle) -> pieces, or None where the Bundle is for a parser.

   The residue is the line with every number, and every string that does not stand under one of the
   names in REPEATING, or stands below one of those in BY_THEMSELVES, cut out; the values are what
   was cut out, in order. A control character marks each cut, and no line that holds one of its own
   is taken apart, so that one residue and its values mean one thing only. Nothing is parsed here.
   Whoever has parsed a line knows what each residue like its own means (privacy/forms.py): the
   forms are a dict of residues, and the first item of a form says by bytes which values it wants.

   For a parser, too, is a line of more than LONGEST bytes, or with more than MOST values; one with a
   backslash in what is left, or with `\u`; whatever is no UTF-8; and numbers of more than DIGITS
   characters, or that two readers could understand differently.

   Of the pieces of a Bundle, which together are the Bundle, each second one is from `{` to `}` what
   stands under a name `resource` in an object in a list in an object, whatever that is: whoever
   asks looks at the others, put together around something else, to see if these are entries. Only
   inside of these may anything be written with space or a backslash.
*/
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 8192
#define MOST 64 /* no more than a byte can count */
#define DIGITS 17 /* of a whole number: it fits into 64 bits */
#define DEEPEST 64 /* objects and lists inside each other in a resource */
#define IN_ENTRY 3 /* so many around what an entry holds: Bundle, list, entry */
#define RESOURCE "\"resource\":{"
#define RESOURCE_SIZE (sizeof RESOURCE - 1)
#define ESCAPES "\"\"\\\\//b\bf\fn\nr\rt\t"
#define CUT_STRING 1
#define CUT_NUMBER 2
#define CUT_ESCAPED 3 /* a string, too; in a residue it is one like all others */

typedef struct {
    const unsigned char *at, *end; /* what is left of the line */
    const unsigned char *pending;  /* what has been read since the last cut */
    unsigned char *kept;           /* where the residue goes on */
    const unsigned char *from[MOST], *to[MOST];
    unsigned char marks[MOST];
    int values;
    int backslashes; /* whether there are any */
    int repeats; /* whether strings under the name met last do */
    int depth, below; /* objects and lists around here; around a name in BY_THEMSELVES, or 0 */
    unsigned char residue[LONGEST]; /* no longer than the line: no mark is longer than its cut */
} Line;

typedef struct {
    size_t size;
    const char *name; /* NULL ends a list */
} Name;

/* Names whose strings are codes, statuses, units and their systems. */
static const Name REPEATING[] = {
    {4, "code"}, {6, "system"}, {6, "status"}, {4, "unit"},
    {6, "intent"}, {10, "comparator"}, {12, "resourceType"}, {0, NULL},
};

/* Names below which even these are a matter of one patient, or of one house. */
static const Name BY_THEMSELVES[] = {
    {4, "meta"}, {4, "text"}, {10, "identifier"}, {9, "extension"}, {9, "contained"}, {0, NULL},
};

static unsigned char meant[256]; /* by a letter after a backslash */
static signed char steps[256]; /* into an object or a list, and out of it */

static int is_among(const Name *names, const unsigned char *name, size_t size) {
    for (; names->name != NULL; names++)
        if (names->size == size && memcmp(names->name, name, size) == 0)
            return 1;
    return 0;
}

static void note_name(Line *line, const unsigned char *name, size_t size) {
    if (line->depth <= line->below)
        line->below = 0;
    if (line->below == 0 && is_among(BY_THEMSELVES, name, size))
        line->below = line->depth;
    line->repeats = line->below == 0 && is_among(REPEATING, name, size);
}

static void keep(Line *line, const unsigned char *to) {
    size_t size = (size_t)(to - line->pending);
    memcpy(line->kept, line->pending, size);
    line->kept += size;
}

/* The value from `from` to `to`; what stands for it in the line from `at` on, to `after`. */
static int cut(Line *line, const unsigned char *from, const unsigned char *to,
               const unsigned char *after, unsigned char mark) {
    if (line->values == MOST)
        return 0;
    line->from[line->values] = from;
    line->marks[line->values] = mark;
    line->to[line->values++] = to;
    keep(line, line->at);
    *line->kept++ = mark == CUT_ESCAPED ? CUT_STRING : mark;
    line->at = line->pending = after;
    return 1;
}

/* Where the string that begins here ends, if it holds no escapes but the short ones. All else that
   strings may hold has been seen to before. */
static const unsigned char *text_end(const Line *line, const unsigned char *at, int *escapes) {
    *escapes = 0;
    if (!line->backslashes)
        return memchr(at, '"', (size_t)(line->end - at));
    for (; at < line->end && *at != '"'; at++)
        if (*at == '\\') {
            *escapes = 1;
            if (++at == line->end || !meant[*at])
                return NULL;
        }
    return at < line->end ? at : NULL;
}

/* A name, or a string as a value. */
static int string(Line *line) {
    int escapes;
    const unsigned char *from = line->at + 1, *to = text_end(line, from, &escapes);
    if (to == NULL)
        return 0;
    if (to + 1 < line->end && to[1] == ':') {
        note_name(line, from, (size_t)(to - from));
        line->at = to + 2;
        return !escapes;
    }
    if (!line->repeats)
        return cut(line, from, to, to + 1, escapes ? CUT_ESCAPED : CUT_STRING);
    line->at = to + 1;
    return !escapes;
}

static const unsigned char *digits(const unsigned char *at, const unsigned char *end) {
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* As JSON spells the plainer ones; NULL for all others. */
static const unsigned char *number_end(const unsigned char *at, const unsigned char *end) {
    const unsigned char *start = at, *from;
    at += *at == '-';
    from = at;
    at = digits(at, end);
    if (at == from || (*from == '0' && at > from + 1))
        return NULL;
    if (at < end && *at == '.') {
        from = at + 1;
        if ((at = digits(from, end)) == from)
            return NULL;
    } else if (*from == '0' && from > start)
        return NULL; /* -0: a whole number or not? */
    if (at - start > DIGITS || (at < end && (*at == 'e' || *at == 'E')))
        return NULL;
    return at;
}

static int number(Line *line) {
    const unsigned char *from = line->at, *to = number_end(from, line->end);
    return to != NULL && cut(line, from, to, to, CUT_NUMBER);
}

static int take_apart(Line *line) {
    while (line->at < line->end) {
        unsigned char c = *line->at;
        int fine = 1;
        if (c == '"')
            fine = string(line);
        else if (c == '-' || (c >= '0' && c <= '9'))
            fine = number(line);
        else {
            line->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            line->at++;
        }
        if (!fine)
            return 0;
    }
    keep(line, line->end);
    return 1;
}

/* Without a branch for each byte, so that compilers take many at once. */
static int is_plain(Line *line, int *high) {
    unsigned char odd = 0, all = 0, backslashes = 0;
    for (const unsigned char *at = line->at; at < line->end; at++) {
        odd |= (unsigned char)(*at < ' ');
        backslashes |= (unsigned char)(*at == '\\');
        all |= *at;
    }
    *high = all >> 7;
    line->backslashes = backslashes;
    return !odd;
}

static int is_text(const unsigned char *from, const unsigned char *to) {
    PyObject *made = PyUnicode_DecodeUTF8((const char *)from, to - from, NULL);
    if (made == NULL)
        PyErr_Clear(); /* said by the parser, which reads it next */
    Py_XDECREF(made);
    return made != NULL;
}

static PyObject *number_of(const unsigned char *from, const unsigned char *to) {
    char spelled[DIGITS + 1] = {0};
    double decimal;
    memcpy(spelled, from, (size_t)(to - from));
    if (memchr(spelled, '.', sizeof spelled) == NULL)
        return PyLong_FromLongLong(strtoll(spelled, NULL, 10));
    decimal = PyOS_string_to_double(spelled, NULL, NULL);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(decimal);
}

static PyObject *escaped_text(const unsigned char *from, const unsigned char *to) {
    char plain[LONGEST], *end = plain; /* no longer than what is spelled */
    for (; from < to; from++)
        *end++ = (char)(*from == '\\' ? meant[*++from] : *from);
    return PyUnicode_DecodeUTF8(plain, end - plain, NULL);
}

static PyObject *value_of(const Line *line, int at) {
    const unsigned char *from = line->from[at], *to = line->to[at];
    if (line->marks[at] == CUT_NUMBER)
        return number_of(from, to);
    if (line->marks[at] == CUT_ESCAPED)
        return escaped_text(from, to);
    return PyUnicode_DecodeUTF8((const char *)from, to - from, NULL);
}

/* Those that are wanted; `wanted` NULL for all. */
static PyObject *values_of(const Line *line, const char *wanted, Py_ssize_t size) {
    PyObject *values = PyTuple_New(size);
    for (Py_ssize_t i = 0; values != NULL && i < size; i++) {
        int at = wanted == NULL ? (int)i : (unsigned char)wanted[i];
        PyObject *made = NULL;
        if (at < line->values)
            made = value_of(line, at);
        else
            PyErr_SetString(PyExc_IndexError, "a form wants what the line has not");
        if (made == NULL || PyTuple_SetItem(values, i, made) < 0)
            Py_CLEAR(values);
    }
    return values;
}

static PyObject *both(PyObject *first, PyObject *values) {
    PyObject *pair = values == NULL ? NULL : PyTuple_Pack(2, first, values);
    Py_XDECREF(values);
    return pair;
}

/* The residue; NULL without an error where the line is for a parser. */
static PyObject *residue_of(Line *line, PyObject *given) {
    char *start;
    Py_ssize_t size;
    int high;
    if (PyBytes_AsStringAndSize(given, &start, &size) < 0)
        return NULL;
    line->at = line->pending = (const unsigned char *)start;
    line->end = line->at + size;
    line->kept = line->residue;
    line->values = line->repeats = line->depth = line->below = 0;
    if (size > LONGEST || !is_plain(line, &high) || !take_apart(line))
        return NULL;
    if (high && !is_text((const unsigned char *)start, line->end))
        return NULL;
    return PyBytes_FromStringAndSize((const char *)line->residue, line->kept - line->residue);
}

static PyObject *none_unless_error(void) {
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *apart(PyObject *module, PyObject *given) {
    Line line;
    PyObject *pair, *residue = residue_of(&line, given);
    if (residue == NULL)
        return none_unless_error();
    pair = both(residue, values_of(&line, NULL, line.values));
    Py_DECREF(residue);
    return pair;
}

static PyObject *find(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    Line line;
    PyObject *residue, *form, *wanted;
    char *indexes;
    Py_ssize_t size;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "find takes forms and a line");
        return NULL;
    }
    if ((residue = residue_of(&line, given[1])) == NULL)
        return none_unless_error();
    form = PyDict_GetItemWithError(given[0], residue);
    Py_DECREF(residue);
    if (form == NULL)
        return none_unless_error();
    if ((wanted = PyTuple_GetItem(form, 0)) == NULL ||
        PyBytes_AsStringAndSize(wanted, &indexes, &size) < 0)
        return NULL;
    return both(form, values_of(&line, indexes, size));
}

/* The end of the string that begins here; NULL if it has none. */
static const unsigned char *string_end(const unsigned char *at, const unsigned char *end) {
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\' && at + 1 < end;
    return at < end ? at + 1 : NULL;
}

/* The end of the object that begins here; NULL if it has none, or is too deep. */
static const unsigned char *object_end(const unsigned char *at, const unsigned char *end) {
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            if ((at = string_end(at, end)) == NULL)
                return NULL;
            continue;
        }
        depth += steps[*at++];
        if (depth == 0)
            return at;
        if (depth > DEEPEST)
            return NULL;
    }
    return NULL;
}

static int add_piece(PyObject *pieces, const unsigned char *from, const unsigned char *to) {
    PyObject *piece = PyBytes_FromStringAndSize((const char *)from, to - from);
    int fine = piece != NULL && PyList_Append(pieces, piece) == 0;
    Py_XDECREF(piece);
    return fine;
}

/* The end of a string outside of resources; NULL if it has none, or is unusual. */
static const unsigned char *plain_end(const unsigned char *at, const unsigned char *end) {
    for (at++; at < end && *at >= ' ' && *at != '"' && *at != '\\';)
        at++;
    return at < end && *at == '"' ? at + 1 : NULL;
}

/* False without an error where the Bundle is for a parser. */
static int into_pieces(PyObject *pieces, const unsigned char *at, const unsigned char *end) {
    const unsigned char *pending = at, *to;
    int depth = 0;
    while (at < end) {
        if (depth == IN_ENTRY && (size_t)(end - at) >= RESOURCE_SIZE &&
            memcmp(at, RESOURCE, RESOURCE_SIZE) == 0) {
            at += RESOURCE_SIZE - 1;
            if ((to = object_end(at, end)) == NULL || !add_piece(pieces, pending, at) ||
                !add_piece(pieces, at, to))
                return 0;
            at = pending = to;
        } else if (*at == '"') {
            if ((at = plain_end(at, end)) == NULL)
                return 0;
        } else if (*at <= ' ' || (unsigned)(depth += steps[*at++]) > DEEPEST)
            return 0;
    }
    return add_piece(pieces, pending, end);
}

static PyObject *split(PyObject *module, PyObject *given) {
    char *start;
    Py_ssize_t size;
    PyObject *pieces;
    if (PyBytes_AsStringAndSize(given, &start, &size) < 0 || (pieces = PyList_New(0)) == NULL)
        return NULL;
    if (!into_pieces(pieces, (const unsigned char *)start, (const unsigned char *)start + size)) {
        Py_DECREF(pieces);
        return none_unless_error();
    }
    return pieces;
}

static PyMethodDef functions[] = {
    {"apart", apart, METH_O, "apart(line) -> (residue, values) | None"},
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, "find(forms, line) -> (form, values) | None"},
    {"split", split, METH_O, "split(bundle) -> pieces | None"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "privacy._apart", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

static int tell(PyObject *module, const char *as, const Name *names) {
    PyObject *told = PyList_New(0);
    int fine = told != NULL;
    for (; fine && names->name != NULL; names++) {
        PyObject *name = PyUnicode_FromString(names->name);
        fine = name != NULL && PyList_Append(told, name) == 0;
        Py_XDECREF(name);
    }
    fine = fine && PyModule_AddObjectRef(module, as, told) == 0;
    Py_XDECREF(told);
    return fine;
}

PyMODINIT_FUNC PyInit__apart(void) {
    PyObject *module = PyModule_Create(&definition);
    for (const char *pair = ESCAPES; *pair != 0; pair += 2)
        meant[(unsigned char)pair[0]] = (unsigned char)pair[1];
    steps['{'] = steps['['] = 1;
    steps['}'] = steps[']'] = -1;
    if (module != NULL && !(tell(module, "REPEATING", REPEATING) &&
                            tell(module, "BY_THEMSELVES", BY_THEMSELVES) &&
                            PyModule_AddStringConstant(module, "SOURCE", SOURCE) == 0))
        Py_CLEAR(module);
    return module;
}
