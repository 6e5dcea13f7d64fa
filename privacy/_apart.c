/* Takes one line of JSON apart: what repeats from line to line, and what differs.

   apart(line) -> (residue, values), or None where the line is for a parser.
   tree() -> a tree of residues; plant(tree, residue, form) puts one into it.
   find(tree, line) -> (form, values), or None where it has no form in the tree.
   groups(tree, lines) -> (form, values, places) of lines of one form and one owner; and the places
   of all lines that have no form in the tree.
   split(bundle) -> pieces, or None where the Bundle is for a parser.

   The residue is the line with every number, and every string that does not stand under one of the
   names in REPEATING, or stands below one of those in BY_THEMSELVES, cut out; the values are what
   was cut out, in order. A control character marks each cut, and no line that holds one of its own
   is taken apart, so that one residue and its values mean one thing only. Nothing is parsed here.
   Whoever has parsed a line knows what each residue like its own means (privacy/forms.py), and calls
   that its form, a tuple: the first item says by bytes which values are wanted, the second which of
   those is the owner's name, or -1.

   Of a line of a known form no residue is made. In the tree residues are cut up where they part and
   where values were cut out, so that a line is compared with text that is known and goes on. What
   comes through has that residue: all of it that is no value stands in the residue, byte for byte,
   and what is a value of a line was one of the line that the residue is of, because whether a string
   is cut out depends on what stands before it and on the colon after it. That takes residues of
   lines that are JSON: of these alone may any be planted.

   For a parser, too, is a line of more than LONGEST bytes, or with more than MOST values; one with a
   backslash in what is left, or with `\u`; whatever is no UTF-8; and numbers of more than DIGITS
   or DECIMAL characters, or that two readers could understand differently.

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
#define DECIMAL 24 /* characters of any other: whatever is a double as its shortest, some spare */
#define DEEPEST 64 /* objects and lists inside each other in a resource */
#define IN_ENTRY 3 /* so many around what an entry holds: Bundle, list, entry */
#define RESOURCE "\"resource\":{"
#define RESOURCE_SIZE (sizeof RESOURCE - 1)
#define ESCAPES "\"\"\\\\//b\bf\fn\nr\rt\t"
#define TREE "residues"
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
static unsigned sizes[256]; /* by their first letter, the sizes of names in either list, as bits */

static int is_among(const Name *names, const unsigned char *name, size_t size) {
    for (; names->name != NULL; names++)
        if (names->size == size && memcmp(names->name, name, size) == 0)
            return 1;
    return 0;
}

/* `size` may be 0: then the name begins with its closing quotation mark, like none of ours. */
static void note_name(Line *line, const unsigned char *name, size_t size) {
    if (line->depth <= line->below)
        line->below = 0;
    line->repeats = 0;
    if (size >= 8 * sizeof *sizes || !(sizes[*name] >> size & 1))
        return; /* most names are none of ours */
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
    int most = DIGITS;
    at += *at == '-';
    from = at;
    at = digits(at, end);
    if (at == from || (*from == '0' && at > from + 1))
        return NULL;
    if (at < end && *at == '.') {
        from = at + 1;
        if ((at = digits(from, end)) == from)
            return NULL;
        most = DECIMAL;
    } else if (*from == '0' && from > start)
        return NULL; /* -0: a whole number or not? */
    if (at - start > most || (at < end && (*at == 'e' || *at == 'E')))
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
    char spelled[DECIMAL + 1] = {0};
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

/* -- known residues ------------------------------------------------------------------------------ */

typedef struct Node {
    struct Node *inside, *beside; /* what goes on from here, and what goes on instead */
    PyObject *form;               /* of the residue that ends here, if one does */
    int number;                   /* of the form */
    size_t size;
    unsigned char text[]; /* a mark alone, or what has none */
} Node;

typedef struct {
    Node *first;
    int forms;
} Tree;

/* The group that lines of a form go into: as long as they have the same owner. */
typedef struct {
    PyObject *group; /* held by the list of all; NULL if there is none yet */
    const unsigned char *owner;
    size_t size;
} Open;

static void cut_down(Node *node) {
    while (node != NULL) {
        Node *beside = node->beside;
        cut_down(node->inside); /* no deeper than a residue has bytes */
        Py_XDECREF(node->form);
        PyMem_Free(node);
        node = beside;
    }
}

static Tree *tree_in(PyObject *capsule) {
    return PyCapsule_GetPointer(capsule, TREE);
}

static void forget(PyObject *capsule) {
    Tree *tree = tree_in(capsule);
    cut_down(tree->first);
    PyMem_Free(tree);
}

static PyObject *tree(PyObject *module, PyObject *none) {
    Tree *made = PyMem_Calloc(1, sizeof(Tree));
    PyObject *capsule = made == NULL ? PyErr_NoMemory() : PyCapsule_New(made, TREE, forget);
    if (capsule == NULL)
        PyMem_Free(made);
    return capsule;
}

static int is_mark(unsigned char c) {
    return c == CUT_STRING || c == CUT_NUMBER;
}

static Node *node_of(const unsigned char *text, size_t size) {
    Node *node = PyMem_Calloc(1, sizeof(Node) + size);
    if (node == NULL)
        return (Node *)PyErr_NoMemory();
    node->size = size;
    memcpy(node->text, text, size);
    return node;
}

/* A node for what begins here, as far as it has no mark. */
static Node *next_node(const unsigned char *at, const unsigned char *end) {
    const unsigned char *to = at + 1;
    while (!is_mark(*at) && to < end && !is_mark(*to))
        to++;
    return node_of(at, (size_t)(to - at));
}

/* So that a node ends there. */
static int part(Node *node, size_t size) {
    Node *rest = node_of(node->text + size, node->size - size);
    if (rest == NULL)
        return 0;
    rest->inside = node->inside;
    rest->form = node->form;
    rest->number = node->number;
    node->inside = rest;
    node->form = NULL;
    node->size = size;
    return 1;
}

static size_t in_common(const Node *node, const unsigned char *at, const unsigned char *end) {
    size_t size = 0;
    while (size < node->size && at + size < end && node->text[size] == at[size])
        size++;
    return size;
}

/* The node where the residue ends; NULL with an error. */
static Node *node_for(Node **place, const unsigned char *at, const unsigned char *end) {
    for (;; place = &(*place)->inside) {
        size_t common;
        while (*place != NULL && (*place)->text[0] != *at)
            place = &(*place)->beside;
        if (*place == NULL && (*place = next_node(at, end)) == NULL)
            return NULL;
        common = in_common(*place, at, end);
        if (common < (*place)->size && !part(*place, common))
            return NULL;
        if ((at += common) == end)
            return *place;
    }
}

static PyObject *plant(PyObject *module, PyObject *given) {
    PyObject *capsule, *form;
    const char *residue;
    Py_ssize_t size;
    Tree *tree;
    Node *node;
    PyObject *before;
    if (!PyArg_ParseTuple(given, "Oy#O!:plant", &capsule, &residue, &size, &PyTuple_Type, &form) ||
        (tree = tree_in(capsule)) == NULL)
        return NULL;
    if (size == 0 || size > LONGEST) {
        PyErr_SetString(PyExc_ValueError, "no residue is so short, or so long");
        return NULL;
    }
    node = node_for(&tree->first, (const unsigned char *)residue,
                    (const unsigned char *)residue + size);
    if (node == NULL)
        return NULL;
    if (node->form == NULL)
        node->number = tree->forms++;
    before = node->form;
    Py_INCREF(form);
    node->form = form;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static int note_value(Line *line, const unsigned char *from, const unsigned char *to, int mark) {
    if (line->values == MOST)
        return 0;
    line->from[line->values] = from;
    line->marks[line->values] = (unsigned char)mark;
    line->to[line->values++] = to;
    return 1;
}

static int is_high(const unsigned char *from, const unsigned char *to) {
    unsigned char all = 0;
    while (from < to)
        all |= *from++;
    return all >> 7;
}

/* Past a string as a value; `high`: whether the line is not in ASCII alone. */
static int pass_string(Line *line, int high) {
    int escapes;
    const unsigned char *from = line->at + 1, *to = text_end(line, from, &escapes);
    if (to == NULL || (high && is_high(from, to) && !is_text(from, to)))
        return 0;
    line->at = to + 1;
    return note_value(line, from, to, escapes ? CUT_ESCAPED : CUT_STRING);
}

static int pass_number(Line *line) {
    const unsigned char *from = line->at, *to = number_end(from, line->end);
    line->at = to;
    return to != NULL && note_value(line, from, to, CUT_NUMBER);
}

static int may_begin(const Node *node, unsigned char c) {
    if (node->text[0] == CUT_STRING)
        return c == '"';
    if (node->text[0] == CUT_NUMBER)
        return c == '-' || (c >= '0' && c <= '9');
    return node->text[0] == c;
}

static int pass(Line *line, const Node *node, int high) {
    if (node->text[0] == CUT_STRING)
        return pass_string(line, high);
    if (node->text[0] == CUT_NUMBER)
        return pass_number(line);
    if ((size_t)(line->end - line->at) < node->size ||
        memcmp(line->at, node->text, node->size) != 0)
        return 0;
    line->at += node->size;
    return 1;
}

/* Where the residue of the line ends in the tree; NULL if it is not there, without an error. */
static const Node *pass_through(const Tree *tree, Line *line, PyObject *given) {
    const Node *node = NULL, *next = tree->first;
    char *start;
    Py_ssize_t size;
    int high;
    if (PyBytes_AsStringAndSize(given, &start, &size) < 0)
        return NULL;
    line->at = (const unsigned char *)start;
    line->end = line->at + size;
    line->values = 0;
    if (size > LONGEST || !is_plain(line, &high))
        return NULL;
    while (line->at < line->end) {
        while (next != NULL && !may_begin(next, *line->at))
            next = next->beside;
        if (next == NULL || !pass(line, next, high))
            return NULL;
        node = next;
        next = node->inside;
    }
    return node != NULL && node->form != NULL ? node : NULL;
}

/* A new reference to the form of a line; NULL without an error where it has none. What is made from
   here on may end in anybody's code, which may plant more: of the tree nothing is held. */
static PyObject *form_of(const Tree *tree, PyObject *given, Line *line, int *number) {
    const Node *node = pass_through(tree, line, given);
    if (node == NULL)
        return NULL;
    *number = node->number;
    Py_INCREF(node->form);
    return node->form;
}

static PyObject *wanted_by(PyObject *form, const Line *line) {
    PyObject *wanted = PyTuple_GetItem(form, 0);
    char *indexes;
    Py_ssize_t size;
    if (wanted == NULL || PyBytes_AsStringAndSize(wanted, &indexes, &size) < 0)
        return NULL;
    return values_of(line, indexes, size);
}

static PyObject *find(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    Line line;
    const Tree *tree;
    PyObject *form, *pair;
    int number;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "find takes a tree and a line");
        return NULL;
    }
    if ((tree = tree_in(given[0])) == NULL)
        return NULL;
    if ((form = form_of(tree, given[1], &line, &number)) == NULL)
        return none_unless_error();
    pair = both(form, wanted_by(form, &line));
    Py_DECREF(form);
    return pair;
}

/* Takes the item, which may be NULL with an error. */
static int append(PyObject *list, PyObject *item) {
    int fine = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return fine;
}

static PyObject *empty_group(PyObject *form) {
    PyObject *values = PyList_New(0), *places = PyList_New(0);
    PyObject *group = values && places ? PyTuple_Pack(3, form, values, places) : NULL;
    Py_XDECREF(values);
    Py_XDECREF(places);
    return group;
}

/* False with an error. */
static int owner_in(PyObject *form, const Line *line, const unsigned char **from, size_t *size) {
    PyObject *wanted = PyTuple_GetItem(form, 0), *owner = PyTuple_GetItem(form, 1);
    long at = owner == NULL ? -1 : PyLong_AsLong(owner);
    char *indexes;
    Py_ssize_t count;
    *from = NULL;
    *size = 0;
    if (PyErr_Occurred() || PyBytes_AsStringAndSize(wanted, &indexes, &count) < 0)
        return 0;
    if (at >= 0 && at < count && (unsigned char)indexes[at] < line->values) {
        *from = line->from[(unsigned char)indexes[at]];
        *size = (size_t)(line->to[(unsigned char)indexes[at]] - *from);
    }
    return 1;
}

static int is_same(const Open *open, const unsigned char *owner, size_t size) {
    return open->group != NULL && open->size == size &&
           (size == 0 || memcmp(open->owner, owner, size) == 0);
}

static int add_to_group(PyObject *groups, Open *open, PyObject *form, const Line *line,
                        Py_ssize_t place) {
    const unsigned char *owner;
    size_t size;
    if (!owner_in(form, line, &owner, &size))
        return 0;
    if (!is_same(open, owner, size)) {
        PyObject *group = empty_group(form);
        open->group = group; /* good for as long as the list holds it */
        open->owner = owner;
        open->size = size;
        if (!append(groups, group))
            return 0;
    }
    return append(PyTuple_GetItem(open->group, 1), wanted_by(form, line)) &&
           append(PyTuple_GetItem(open->group, 2), PyLong_FromSsize_t(place));
}

/* `open`: by the numbers of forms, of which there were so many. */
static int share_out(const Tree *tree, int forms, PyObject *lines, Open *open, PyObject *groups,
                     PyObject *others) {
    Line line;
    Py_ssize_t count = PyTuple_Size(lines);
    for (Py_ssize_t i = 0; i < count; i++) {
        int number, fine;
        PyObject *form = form_of(tree, PyTuple_GetItem(lines, i), &line, &number);
        if (form == NULL && PyErr_Occurred())
            return 0;
        if (form == NULL || number >= forms)
            fine = append(others, PyLong_FromSsize_t(i));
        else
            fine = add_to_group(groups, &open[number], form, &line, i);
        Py_XDECREF(form);
        if (!fine)
            return 0;
    }
    return 1;
}

static PyObject *groups(PyObject *module, PyObject *given) {
    PyObject *capsule, *lines, *groups = PyList_New(0), *others = PyList_New(0), *made = NULL;
    const Tree *tree;
    Open *open = NULL;
    int forms;
    if (groups != NULL && others != NULL &&
        PyArg_ParseTuple(given, "OO!:groups", &capsule, &PyTuple_Type, &lines) &&
        (tree = tree_in(capsule)) != NULL) {
        forms = tree->forms;
        if ((open = PyMem_Calloc((size_t)forms + 1, sizeof(Open))) == NULL)
            PyErr_NoMemory();
        else if (share_out(tree, forms, lines, open, groups, others))
            made = PyTuple_Pack(2, groups, others);
    }
    PyMem_Free(open);
    Py_XDECREF(groups);
    Py_XDECREF(others);
    return made;
}

/* -- Bundles ------------------------------------------------------------------------------------- */

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
    {"tree", tree, METH_NOARGS, "tree() -> tree"},
    {"plant", plant, METH_VARARGS, "plant(tree, residue, form)"},
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, "find(tree, line) -> (form, values) | None"},
    {"groups", groups, METH_VARARGS, "groups(tree, lines) -> ([(form, values, places)], places)"},
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

static void note_sizes(const Name *names) {
    for (; names->name != NULL; names++)
        sizes[(unsigned char)names->name[0]] |= 1u << names->size;
}

PyMODINIT_FUNC PyInit__apart(void) {
    PyObject *module = PyModule_Create(&definition);
    note_sizes(REPEATING);
    note_sizes(BY_THEMSELVES);
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
