/* Opened while the program runs. */
double call_back(double (*work)(int))
{
    double sum = 0;
    for (int i = 0; i < 100; i++)
        sum += work(i);
    return sum;
}
