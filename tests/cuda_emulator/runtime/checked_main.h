// The program that runs one launch under a sanitizer: reads it from a file, writes the results back.
// Every array is malloc'ed at its exact size, so AddressSanitizer sees the first byte beyond it.
#pragma once

static unsigned long long read_number(FILE* file) {
    unsigned long long number;
    if (fread(&number, sizeof number, 1, file) != 1) exit(97);
    return number;
}

int main(int, char** words) {
    FILE* file = fopen(words[1], "rb");
    if (!file) return 97;
    emulator::Geometry geometry;
    for (unsigned& size : geometry.grid) size = read_number(file);
    for (unsigned& size : geometry.block) size = read_number(file);
    geometry.shared = read_number(file);
    geometry.with_fibers = read_number(file);
    geometry.order = read_number(file);
    geometry.seed = read_number(file);

    enum Kind : unsigned long long { value, array, null };
    struct Argument {
        size_t bytes;
        unsigned long long kind;
        void* memory;
    };
    std::vector<Argument> arguments(read_number(file));
    std::vector<void*> addresses;
    for (Argument& argument : arguments) {
        argument.bytes = read_number(file);
        argument.kind = read_number(file);
        argument.memory = argument.kind == null ? nullptr : malloc(argument.bytes);
        if (argument.bytes && fread(argument.memory, 1, argument.bytes, file) != argument.bytes)
            return 97;
        addresses.push_back(argument.kind == value ? argument.memory : (void*)&argument.memory);
    }
    fclose(file);

    emulator_launch_by_name(words[2], &geometry, addresses.data());
    if (emulator::failed) {
        fprintf(stderr, "%s\n", emulator::message);
        return 96;
    }
    file = fopen(words[1], "wb");
    for (Argument& argument : arguments)
        if (argument.kind == array) fwrite(argument.memory, 1, argument.bytes, file);
    fclose(file);
    return 0;
}
